"""The rules on whole files: MACs that somebody else counted by hand (skipped where the files are absent)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from efficiency_cli.costs import work_of

EDGE = Path(__file__).resolve().parents[3] / "shared" / "edge"

FILES = """
conv_bias conv_same_upper conv_same_lower conv_depthwise_mult2 convtranspose_group_bias qlinear_matmul
matmul_integer qdq_conv matmul_1d_1d matmul_1d_nd matmul_nd_1d einsum_0 einsum_6 lstm_bi lstm_layout1
lstm_seq_lens gru gru_bi rnn resize_sizes upsample_9 layernorm groupnorm_21 rmsnorm_23 lrn attention_23
attention_23_gqa_past rotary_23 swish_24 dft_20 gridsample col2im maxunpool onehot dropout_train ml_linear_svm
causal_conv_state_27 ms_fusedgemm ms_matmulnbits_4 ms_biasgelu ms_multiheadattention ms_gqa
ms_skipsimplifiedln ms_simplifiedln ms_embedln ms_dynquantmatmul ms_qmoe ms_gatherblockquantized ms_nhwcconv
data_dependent_nms data_dependent_nonzero w_bfloat16 w_int4_blocked sequence_ops zero_size_dim
"""


@pytest.mark.skipif(not EDGE.is_dir(), reason="needs ../shared/edge")
@pytest.mark.parametrize("name", FILES.split())
def test_macs(name):
    from efficiency_cli.graph.read import read_model

    expected = {entry["file"]: entry["macs"] for entry in json.loads((EDGE / "expected.json").read_text())}
    graph = read_model(str(EDGE / f"{name}.onnx")).graph
    works = [work_of(node, graph) for node in graph.nodes]
    assert sum(work.macs for work in works) == expected[f"{name}.onnx"]
    assert all(work.modelled for work in works)
