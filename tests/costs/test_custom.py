"""Rules of a user's own and of installed packages: for one run, and with mistakes named."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from efficiency_cli import costs
from efficiency_cli.config.operators import read_operators
from efficiency_cli.costs import CostError, Op, plugins, rules, work_of
from efficiency_cli.costs.custom import CustomRule, may_be_given
from efficiency_cli.costs.expression import Expression
from efficiency_cli.errors import ConfigError
from efficiency_cli.graph.model import DType, Graph, Node, OpClass, Tensor

KEY = ("my.domain", "Fold")


def fold(domain: str = "my.domain", op: str = "Fold") -> tuple[Node, Graph]:
    node = Node("fold", op, domain, ("x", "w"), ("y",))
    tensors = {
        "x": Tensor("x", (4, 8), DType.FLOAT32),
        "w": Tensor("w", (8, 16), DType.FLOAT32),
        "y": Tensor("y", (4, 16), DType.FLOAT32),
    }
    return node, Graph("g", (node,), tensors, ("x", "w"), ("y",))


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "ops.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_macs_alone_count_two_operations_each_and_all_bytes():
    rule = CustomRule(macs=Expression("out0.numel * in1.shape[0]"))
    work = work_of(*fold(), {KEY: rule})
    macs = 4 * 16 * 8
    assert (work.macs, work.ops, work.op_class, work.modelled) == (macs, 2 * macs, OpClass.ELEMENTWISE, True)
    assert work.reads == {"x": 4 * 8 * 4, "w": 8 * 16 * 4}
    assert work.writes == {"y": 4 * 16 * 4}
    assert work.formula == "out0.numel * in1.shape[0] = 512 MACs"


def test_every_part_from_a_file(tmp_path):
    text = """\
my.domain::Fold:
  macs: "out0.numel * in1.shape[0]"
  ops: 2 * out0.numel * in1.shape[0] + out0.numel
  class: dense
  reads: {in1: in1.bytes // 2}
  writes: {out0: 1}
"""
    work = work_of(*fold(), read_operators(written(tmp_path, text)))
    assert (work.macs, work.ops) == (4 * 16 * 8, 2 * 4 * 16 * 8 + 4 * 16)
    assert work.op_class is OpClass.DENSE
    assert work.reads == {"x": 4 * 8 * 4, "w": 8 * 16 * 4 // 2}
    assert work.writes == {"y": 1}


def test_fewer_operations_than_the_macs_are_refused():
    rule = CustomRule(macs=Expression("10"), ops=Expression("19"))
    with pytest.raises(CostError, match=r"node 'fold' \(my.domain::Fold\): 19 operations are fewer"):
        work_of(*fold(), {KEY: rule})


def test_nothing_is_left_behind():
    before = dict(rules())
    work_of(*fold(), {KEY: CustomRule(macs=Expression("1"))})
    assert rules() == before
    assert not work_of(*fold()).modelled


def test_equal_files_give_equal_rules(tmp_path):
    path = written(tmp_path, "my.domain::Fold: {macs: out0.numel}")
    assert read_operators(path) == read_operators(path)


@pytest.mark.parametrize(
    ("domain", "op", "allowed"),
    [
        ("my.domain", "Conv", True),
        ("my.domain", "Fold", True),
        ("com.microsoft", "NotYetKnown", True),
        ("", "Conv", False),
        ("ai.onnx", "Conv", False),
        ("com.microsoft", "FusedConv", False),
        ("ai.onnx.ml", "Scaler", False),
    ],
)
def test_standard_operators_keep_their_rules(domain, op, allowed):
    assert may_be_given(domain, op) is allowed


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a::B: {macs: in0.nummel}", ["ops.yaml:1:18: 'nummel' is nothing of an operand; did you mean 'numel'?"]),
        ('a::B: {macs: "1 +"}', ["ops.yaml:1:18: "]),
        ("a::B:\n  mac: 1\n", ["ops.yaml:2:3: unknown key 'mac'; did you mean 'macs'?"]),
        ("a::B: {macs: 1, class: denze}", ["ops.yaml:1:24: unknown class 'denze'; did you mean 'dense'?"]),
        ("a::B: {macs: 1, reads: {out0: 1}}", ["ops.yaml:1:25: 'out0' is no operand"]),
        ("a::B: {macs: 1, reads: 7}", ["ops.yaml:1:24: bytes are given by operand"]),
        ("a::B: {macs: [1]}", ["ops.yaml:1:14: a formula is expected"]),
        ("a::B: 7", ["ops.yaml:1:7: an operator is a mapping"]),
        ("a::B: {}", ["ops.yaml:1:7: an operator needs"]),
        ("Conv: {macs: 1}", ["ops.yaml:1:1: 'Conv' is a standard operator"]),
        ("a::b::C: {macs: 1}", ["ops.yaml:1:1: 'a::b::C' is not DOMAIN::OPERATOR"]),
        ("a::B: {macs: 1}\na::B: {macs: 2}", ["ops.yaml:2:1: 'a::B' is given twice"]),
        ("a::B: {macs: 1, macs: 2}", ["ops.yaml:1:17: 'macs' is given twice"]),
        ("[1]", ["ops.yaml:1:1: the file is a mapping"]),
        ("{}", ["ops.yaml:1:1: no operator"]),
        ("", ["ops.yaml:1:1: the file is empty"]),
        ("a::B: {macs: &x 1}", ["ops.yaml:1:14: anchors"]),
        ("a::B: {macs: x0}\nc::D: {mac: 1}", ["ops.yaml:1:14: ", "ops.yaml:2:8: "]),
    ],
)
def test_every_mistake_has_its_place(tmp_path, text, places):
    with pytest.raises(ConfigError) as error:
        read_operators(written(tmp_path, text))
    assert len(error.value.where) == len(places)
    for place, expected in zip(error.value.where, places, strict=True):
        assert place.startswith(str(tmp_path)), place
        assert place.removeprefix(f"{tmp_path}/").startswith(expected), place


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_operators(str(tmp_path / "none.yaml"))


# --- the entry-point group ---------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """install(module text): a package with this module stands in the entry-point group."""
    registered = dict(costs._RULES)

    def install(text: str) -> None:
        (tmp_path / "their_costs.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        point = EntryPoint("theirs", "their_costs", plugins.GROUP)
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == plugins.GROUP else [])
        plugins.load_plugins.cache_clear()

    rules()
    yield install
    sys.modules.pop("their_costs", None)
    for key in set(costs._RULES) - set(registered):
        del costs._RULES[key]
    plugins.load_plugins.cache_clear()


RULE = '''
from efficiency_cli.costs import cost

@cost("{key}")
def theirs(op):
    """7 MACs."""
    return op.work(macs=7)
'''


def test_a_package_adds_a_rule_when_an_operator_has_none(installed):
    installed(RULE.format(key="my.domain::Fold"))
    work_of(*fold("", "MatMul"))
    assert "their_costs" not in sys.modules
    assert work_of(*fold()).macs == 7
    assert "their_costs" in sys.modules


def test_a_users_rule_comes_first(installed):
    installed(RULE.format(key="my.domain::Fold"))
    assert work_of(*fold(), {KEY: CustomRule(macs=Expression("3"))}).macs == 3
    assert "their_costs" not in sys.modules


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (RULE.format(key="Conv"), "Conv already has a cost rule"),
    ],
)
def test_a_broken_package_is_named(installed, text, part):
    installed(text)
    with pytest.raises(plugins.PluginError) as error:
        work_of(*fold())
    assert "'theirs'" in error.value.what
    assert part in error.value.what
    assert "their_costs" in error.value.where[0]


def test_an_operator_without_any_rule_stays_unmodelled(installed):
    installed(RULE.format(key="other.domain::Thing"))
    assert not work_of(*fold()).modelled


def test_a_rule_needs_no_more_than_an_op():
    op = Op(*_operands())
    assert CustomRule(ops=Expression("out0.numel"))(op).ops == 4 * 16


def _operands():
    node, graph = fold()
    return node, graph.inputs_of(node), graph.outputs_of(node)
