"""What a machine is: the profile schema, strict loading, lint and the template of a new profile."""
