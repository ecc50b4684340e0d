"""`effcli check` on the command line: options and configs together, exit codes, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from efficiency_cli.commands import check, diff
from efficiency_cli.judge.gauge import ON

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
BOARD = SAMPLES / "ci-project" / "boards" / "sensor-hub.yaml"
KEYWORD = SAMPLES / "ci-project" / "models" / "keyword.onnx"
WIDER = SAMPLES / "ci-project" / "pull-request" / "keyword.onnx"


def config(text, name="effcli.yaml"):
    Path(name).write_text("version: 1\n" + text, encoding="utf-8")


def with_budgets(*lines, path=KEYWORD, more=""):
    budgets = "".join(f"      {line}\n" for line in lines)
    config(f"hardware: {BOARD}\nmodels:\n  - path: {path}\n    budgets:\n{budgets}{more}")


def findings(effcli, *arguments):
    report = json.loads(effcli("check", *arguments, "-f", "json").out)
    return {f["name"]: f for r in report["results"] for f in r["findings"]}


def test_the_words_are_those_of_the_judge():
    assert check.ON == diff.ON == ON


def test_limits_on_the_command_line(effcli):
    result = effcli("check", KEYWORD, "--hw", BOARD, "--max", "latency=30ms", "--max", "peak_ram=16000B")
    assert (result.code, result.err) == (0, "")
    assert "limits of the command line: 1 model, 2 budgets" in result.out
    assert "at the limit" in result.out  # 2 * 64 * 25 * 5 bytes are 16,000
    result = effcli("check", KEYWORD, "--hw", BOARD, "--max", "peak_ram=15999B", "--min", "throughput=1000/s")
    assert result.code == 1
    assert "to accept: raise the limit: --max peak_ram=15.7KiB" in result.out
    assert result.err.count("FAIL: ") == 2


def test_counts_need_no_machine(effcli):
    assert effcli("check", KEYWORD, "--max", "macs=3M", "--max", "parameters=23k").code == 0
    result = effcli("check", KEYWORD, "--max", "latency=30ms")
    assert result.code == 3
    assert "latency: latency needs a machine: --hw ID" in result.err


def test_no_budget_prints_a_config_to_paste_that_works(effcli):
    result = effcli("check", KEYWORD, "--hw", BOARD)
    assert (result.code, result.out) == (2, "")
    assert "no budget, and no effcli.yaml is found" in result.err
    lines = result.err.splitlines()
    pasted = "\n".join(line[2:] for line in lines[2:-1]) + "\n"
    Path("effcli.yaml").write_text(pasted)
    assert yaml.safe_load(pasted)["models"][0]["path"] == str(KEYWORD)
    assert effcli("check").code in (0, 1)


def test_without_anything_it_says_what_to_do(effcli):
    result = effcli("check")
    assert result.code == 2
    assert "hint: let the estimates of today be written: effcli check --init model.onnx --hw cortex-m7" in result.err


def test_an_option_beats_the_file_and_the_rest_of_it_stands(effcli):
    with_budgets("latency: 1 ms", "peak_ram: 24 KiB", "macs: 1M")
    found = findings(effcli, "--max", "latency=30ms", "--max", "flash=1MiB")
    assert {n: (f["status"], f["limit_text"], f["place"].split(":")[0]) for n, f in found.items()} == {
        "latency": ("pass", "30ms", "--max"),
        "peak_ram": ("pass", "24 KiB", "effcli.yaml"),
        "macs": ("fail", "1M", "effcli.yaml"),
        "flash": ("pass", "1MiB", "--max"),
    }


def test_the_machine_of_an_option_beats_that_of_the_file(effcli):
    with_budgets("macs: 3M")
    report = json.loads(effcli("check", "--hw", "cortex-m4", "-f", "json").out)
    assert report["results"][0]["hardware"]["id"] == "cortex-m4"


def test_on_beats_the_file(effcli):
    with_budgets("latency: {max: 30 ms, on: upper}", "macs: 3M")
    assert findings(effcli)["latency"]["status"] == "fail"
    found = findings(effcli, "--on", "bound")
    assert (found["latency"]["status"], found["latency"]["on"]) == ("pass", "bound")
    with_budgets("energy: 1 J")
    result = effcli("check", "--on", "bound")
    assert result.code == 2
    assert "energy has no bound" in result.err


def test_a_model_that_is_named_is_judged_by_its_entry_alone(effcli):
    config(
        f"hardware: {BOARD}\nmodels:\n  - path: {KEYWORD}\n    budgets: {{macs: 3M}}\n"
        f"  - path: {WIDER}\n    budgets: {{macs: 1M}}\n"
    )
    assert effcli("check", KEYWORD).code == 0
    assert effcli("check", WIDER).code == 1
    assert effcli("check").code == 1
    other = SAMPLES / "kws_dscnn_float.onnx"
    result = effcli("check", other)
    assert result.code == 2
    assert "effcli.yaml has no budget for what is to be judged" in result.err
    assert effcli("check", other, "--max", "macs=3M").code == 0


def test_one_bad_model_does_not_stop_the_others(effcli):
    Path("models").mkdir()
    Path("models/a.onnx").write_text("no model")
    Path("models/b.onnx").write_bytes(KEYWORD.read_bytes())
    with_budgets("macs: 1M", path="models/*.onnx")
    result = effcli("check", "-f", "table", "-f", "junit:out.xml", "-f", "json:out.json")
    assert result.code == 2
    assert "FAIL: models/b.onnx" in result.err
    assert "models/a.onnx" in result.err
    assert [r["status"] for r in json.loads(Path("out.json").read_text())["results"]] == ["error", "fail"]
    assert "<error " in Path("out.xml").read_text()


def test_two_bad_models_are_one_error(effcli):
    Path("a.onnx").write_text("no model")
    Path("b.onnx").write_text("none either")
    result = effcli("check", "a.onnx", "b.onnx", "--max", "macs=1M")
    assert result.code == 2
    assert result.err.startswith("error: 2 models could not be checked\n")


def test_a_pattern_that_matches_nothing_is_inconclusive(effcli):
    assert effcli("check", "no/*.onnx", "--max", "macs=1M").code == 3
    with_budgets("macs: 3M", path="no/*.onnx")
    result = effcli("check")
    assert result.code == 3
    assert "effcli.yaml:4:11" in result.err
    # a file that is named and not there is no pattern
    with_budgets("macs: 3M", path="no.onnx")
    assert effcli("check").code == 2


def test_a_pattern_on_the_command_line(effcli):
    pattern = str(SAMPLES / "ci-project" / "models" / "*.onnx")
    assert effcli("check", pattern, "--max", "macs=3M").code == 0


def test_strict(effcli):
    model = SAMPLES / "bert_small.onnx"
    asked = ("check", model, "--dim", "sequence=16", "--max", "macs=1G")
    assert effcli(*asked).code == 0
    result = effcli(*asked, "--strict")
    assert result.code == 3
    assert "batch" in result.err
    assert effcli(*asked, "--dim", "batch=1", "--strict").code == 0


def test_common_sizes_are_for_the_models_that_have_them(effcli):
    config(
        "dims: {batch: 2, sequence: 16}\nmodels:\n"
        f"  - path: {SAMPLES / 'bert_small.onnx'}\n    budgets: {{macs: 1G}}\n"
        f"  - path: {KEYWORD}\n    budgets: {{macs: 3M}}\n"
    )
    report = json.loads(effcli("check", "-f", "json").out)
    assert [r["model"]["dims"] for r in report["results"]] == [{"batch": 2, "sequence": 16}, {}]
    # a size of an entry that its model does not have is a mistake
    config(f"models:\n  - path: {KEYWORD}\n    dims: {{sequence: 16}}\n    budgets: {{macs: 3M}}\n")
    assert effcli("check").code == 2


def test_a_phase_and_a_cache(effcli):
    config(
        f"models:\n  - path: {SAMPLES / 'decoder_kv.onnx'}\n    phase: decode\n    context: 128\n"
        "    budgets: {kv_cache: 1 MiB, macs: 20M}\n"
    )
    found = findings(effcli)
    assert found["macs"]["value"] == 15_633_792  # samples/README.md: 1 x 1 after 128
    assert found["kv_cache"]["status"] == "fail"


def test_what_a_machine_does_not_tell_has_a_next_step(effcli):
    asked = ("check", KEYWORD, "--max", "energy=1mJ")
    assert "hint: name a machine: --hw ID" in effcli(*asked).err
    result = effcli(*asked, "--hw", "cortex-m3")
    assert result.code == 3
    assert "the profile of cortex-m3 has no energy figures" in result.err
    assert "effcli hw new my-board --from cortex-m3" in result.err


def test_a_baseline_that_is_named_must_exist(effcli):
    result = effcli("check", KEYWORD, "--max", "macs_increase=1%", "--baseline", "no.json")
    assert result.code == 2
    result = effcli("check", KEYWORD, "--max", "macs_increase=1%")
    assert result.code == 3


def test_a_baseline_on_the_command_line(effcli):
    result = effcli("check", KEYWORD, "--update-baseline", "--baseline", "b.json", "--max", "macs=3M")
    assert result.code == 0
    Path("keyword.onnx").write_bytes(WIDER.read_bytes())
    asked = ("check", "keyword.onnx", "--baseline", "b.json", "--max", "macs_increase=5%")
    result = effcli(*asked)
    assert result.code == 1
    # 25*5*(64*96 + 96*9 + 96*96) against 25*5*(64*64 + 64*9 + 64*64), and 32 more inputs of 12 sums
    grown = 25 * 5 * (64 * 32 + 32 * 9 + 96 * 96 - 64 * 64) + 32 * 12
    assert f"+{grown / 2_656_768:.1%}".replace("%", " %") in result.out
    assert "note: macs_increase alone lets many small steps pass" in result.err
    # a report of analyze serves as well
    effcli("analyze", KEYWORD, "-f", "json:report.json")
    assert effcli("check", "keyword.onnx", "--baseline", "report.json", "--max", "macs_increase=5%").code == 1


def test_a_baseline_is_not_written_where_something_could_not_be_estimated(effcli):
    Path("bad.onnx").write_text("no model")
    result = effcli("check", KEYWORD, "bad.onnx", "--update-baseline", "--baseline", "b.json", "--max", "macs=3M")
    assert result.code == 2
    assert "b.json is left as it is" in result.err
    assert not Path("b.json").exists()


def test_a_model_is_never_overwritten(effcli):
    Path("m.onnx").write_bytes(KEYWORD.read_bytes())
    assert effcli("check", "m.onnx", "--max", "macs=3M", "-f", "json:m.onnx").code == 2
    assert effcli("check", "m.onnx", "--max", "macs=3M", "--update-baseline", "--baseline", "m.onnx").code == 2
    assert Path("m.onnx").read_bytes() == KEYWORD.read_bytes()


def test_a_profile_that_changed_since_the_baseline_is_noted(effcli):
    effcli("check", KEYWORD, "--hw", BOARD, "--update-baseline", "--baseline", "b.json", "--max", "macs=3M")
    asked = ("check", KEYWORD, "--hw", BOARD, "--baseline", "b.json", "--max", "latency_increase=1%")
    assert effcli(*asked).code == 0
    result = effcli(*asked, "--set", "clock=50MHz")
    assert result.code == 1
    assert "note: the profile of sensor-hub has changed since the baseline" in result.err


def test_a_first_config_holds_today_and_says_so(effcli):
    result = effcli("check", "--init", KEYWORD, "--hw", BOARD)
    assert (result.code, result.out) == (0, "")
    assert "wrote effcli.yaml: 6 budgets with 10% headroom" in result.err
    text = Path("effcli.yaml").read_text()
    assert "# today 27.9 ms" in text
    report = json.loads(effcli("check", "-f", "json").out)
    (entry,) = report["results"]
    assert {f["status"] for f in entry["findings"]} == {"pass"}
    for found in entry["findings"]:
        if found["side"] == "max":
            assert 1.10 <= found["limit"] / found["value"] <= 1.12
    again = effcli("check", "--init", KEYWORD, "--hw", BOARD)
    assert again.code == 2
    assert "effcli.yaml is there already" in again.err
    assert Path("effcli.yaml").read_text() == text


def test_a_first_config_of_several_machines_with_sizes(effcli):
    bert = SAMPLES / "bert_small.onnx"
    sizes = ("--dim", "batch=1", "--dim", "sequence=16")
    result = effcli("check", "--init", bert, "--hw", "a100,t4", *sizes, "--headroom", "0%", "-c", "ci.yaml")
    assert result.code == 0
    assert effcli("check", "-c", "ci.yaml").code == 0
    assert yaml.safe_load(Path("ci.yaml").read_text())["models"][1]["hardware"] == "t4"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--init",), "--init needs a model"),
        (("--init", KEYWORD, "--set", "clock=1MHz", "--hw", BOARD), "a config cannot say --set"),
        (("--init", "no.onnx"), "no.onnx"),
        ((KEYWORD, "--headroom", "10%"), "--headroom is for --init"),
        ((KEYWORD, "--init", "--headroom", "10"), "--headroom: '10' is not a percentage"),
        ((KEYWORD, "--max", "latncy=1ms"), "did you mean 'latency'?"),
        ((KEYWORD, "--max", "latency=1"), "--max: a unit is required"),
        ((KEYWORD, "--max", "throughput_increase=1%"), "did you mean 'throughput_decrease'?"),
        (("-c", "no.yaml"), "cannot read the config no.yaml"),
        (("-c", "no.yaml", "--no-config"), "contradict each other"),
        ((KEYWORD, "--max", "macs=3M", "-f", "junti"), "did you mean 'junit'?"),
        ((KEYWORD, "--max", "macs=3M", "--hw", "cortex-m8"), "unknown hardware 'cortex-m8'"),
    ],
)
def test_bad_input(effcli, arguments, said):
    result = effcli("check", *arguments)
    assert (result.code, said in result.err) == (2, True), result.err
    assert not list(Path().iterdir())


def test_no_config_leaves_it_alone(effcli):
    with_budgets("macs: 1M")
    assert effcli("check", KEYWORD, "--max", "flash=1MiB", "--no-config").code == 0
    assert effcli("check", KEYWORD, "--max", "flash=1MiB").code == 1


def test_limits_from_the_environment(effcli, monkeypatch):
    monkeypatch.setenv("EFFCLI_MAX", "macs=1M,flash=1MiB")
    result = effcli("check", KEYWORD)
    assert result.code == 1
    assert "1 failed, 1 passed" in result.out


def test_what_has_no_budget_is_skipped_and_shown_when_asked(effcli):
    result = effcli("check", KEYWORD, "--max", "macs=3M", "-v")
    assert "  SKIP  parameters" in result.out
    assert "SKIP  latency" not in result.out


def test_the_json_satisfies_its_schema(effcli):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(effcli("schema", "report").out)
    with_budgets("latency: 1 ms", "macs_increase: 1 %", "flash: {max: 1 B, level: warn}", "coverage: '>= 100 %'")
    for arguments in ((), ("bad.onnx", "--max", "macs=1")):
        report = json.loads(effcli("check", *arguments, "-f", "json").out)
        jsonschema.validate(report, {"$ref": "#/$defs/CheckReport", "$defs": schema["$defs"]})
    broken = {**report, "exit_code": "2"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, {"$ref": "#/$defs/CheckReport", "$defs": schema["$defs"]})
