"""Files that users write about their models; profiles of machines are read in `hardware`."""
