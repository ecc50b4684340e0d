"""Fits the `pytorch` runtime of a GPU to timm's throughputs, and says how far off it is on families left out.

    python samples/gpu/fit_pytorch.py graphs/ benchmark-infer-amp-nchw-pt240-cu124-rtx4090-dynamo.csv --hw rtx-4090

Free are the efficiencies of dense work, of grouped and of depthwise convolutions, and what a kernel costs to start.
Attention's is a published one, the fraction of the bandwidth the profile's; computing and moving overlap.
Needs `pip install 'effcli[measure]'`.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

import efficiency_cli as eff
from efficiency_cli.hardware.profile import Dispatch, Profile, Runtime
from efficiency_cli.roofline.estimate import count
from efficiency_cli.roofline.latency import Machine, Timer

# torch.compile: convolutions come from a library, what is element-wise behind them is generated
FUSION = ("bias", "pad", "pointwise", "movement")
CLASSES = ("dense", "grouped", "depthwise", "attention")
# FlashAttention-2 on an A100, forward: fitted, it follows the few networks that run attention badly
ATTENTION = 0.73
START = (0.9, 0.5, 0.1, 5e-6)  # three efficiencies, seconds a kernel
# weight of the start in the fit, in relative error: keeps what the data do not tell where it was
PULL = 0.03
# errors beyond this count less
ROBUST = 0.15
# networks built alike are held out together
KIN = {
    "vit": "vit deit beit eva cait xcit naflexvit crossvit mixer vitamin",
    "resnet": "resnet seresnet resnext resnest resnetblur res resnets nfnet hrnet halonet xception dla",
    "efficientnet": """efficientnet mobilenet mobilenetv mnasnet fbnetv hardcorenas tinynet ghostnetv rexnet rexnetr
        mobilevitv mixnet""",
    "regnet": "regnetx regnety regnetz",
    "convnext": "convnext convnextv mambaout fasternet starnet poolformerv",
    "densenet": "densenet densenetblur vovnet hgnetv cs",
    "hybrid": "maxvit coatnet swinv davit fastvit",
}


@dataclass(frozen=True)
class Case:
    """One network: seconds at the peaks by kernel, and the measured time of a batch."""

    name: str
    family: str
    kind: np.ndarray  # of each kernel, an index into CLASSES; -1 has no matrix work
    compute: np.ndarray
    memory: np.ndarray
    repeat: np.ndarray
    measured: float

    def expected(self, parameters: np.ndarray) -> float:
        efficiency = np.array([*parameters[:-1], ATTENTION, 1.0])  # the last one is for -1
        times = np.maximum(self.compute / efficiency[self.kind], self.memory) + parameters[-1] * self.repeat
        return float(times.sum())


def family(name: str) -> str:
    """resnet50s and seresnet152 are one family: the kind of network, not the size."""
    stem = re.match(r"(?:tf_|dm_|nf_|test_)*([a-z]+)", name)
    word = stem[1] if stem else name
    return next((kin for kin, words in KIN.items() if word in words.split()), word)


def cases(folder: Path, table: Path, profile: Profile, memory: float) -> list[Case]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = {(row["model"], row["infer_img_size"]): row["infer_samples_per_sec"] for row in csv.DictReader(file)}
    neutral = Runtime(
        id="pytorch", name="", grade="datasheet", overlap=profile.runtime().overlap, dispatch=Dispatch(), fusion=FUSION
    )
    found = []
    for path in sorted(folder.glob("*.onnx")):
        model = eff.read_model(str(path))
        images = model.graph.tensors[model.graph.inputs[0]].shape
        per_second = rows.get((path.stem, str(images[-1]))) if images else None
        if images and per_second:
            measured = int(images[0]) / float(per_second)
            found.append(
                _case(path.stem, count(model).kernels(FUSION), Machine(profile, neutral, 1.0), memory, measured)
            )
    return found


def _case(name: str, kernels: Sequence, machine: Machine, memory: float, measured: float) -> Case:
    timer = Timer(machine, 0)
    times = [timer.time(kernel) for kernel in kernels]
    kinds = [k.variant if k.variant in CLASSES else k.op_class.value for k in kernels]
    return Case(
        name,
        family(name),
        np.array([CLASSES.index(k) if k in CLASSES else -1 for k in kinds]),
        np.array([t.compute_s for t in times]),
        np.array([t.memory_s for t in times]) / memory,
        np.array([k.repeat for k in kernels]),
        measured,
    )


def fitted(known: Sequence[Case]) -> np.ndarray:
    """The parameters that make the relative errors small; efficiencies at most 1."""
    start = np.log(START)

    def residuals(logs: np.ndarray) -> np.ndarray:
        errors = [np.log(case.expected(np.exp(logs)) / case.measured) for case in known]
        return np.concatenate([errors, PULL * (logs - start)])

    highest = np.log([1.0, 1.0, 1.0, 1e-3])
    found = least_squares(residuals, start, bounds=(np.log(1e-9), highest), loss="soft_l1", f_scale=ROBUST)
    return np.exp(found.x)


def held_out(all_cases: Sequence[Case]) -> dict[str, float]:
    """Expected over measured time of each network, fitted without its family."""
    ratios = {}
    for kin in sorted({case.family for case in all_cases}):
        parameters = fitted([case for case in all_cases if case.family != kin])
        ratios |= {c.name: c.expected(parameters) / c.measured for c in all_cases if c.family == kin}
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="graphs that export_timm.py wrote")
    parser.add_argument("table", type=Path, help="a results/benchmark-infer-*.csv of timm")
    parser.add_argument("--hw", required=True)
    args = parser.parse_args()
    profile = eff.load_profile(args.hw)
    memory = profile.runtime().efficiency_of("memory")
    known = cases(args.folder, args.table, profile, memory)
    parameters, ratios = fitted(known), held_out(known)
    report(known, parameters, ratios)


def report(known: Sequence[Case], parameters: np.ndarray, ratios: dict[str, float]) -> None:
    fit_errors = np.array([abs(c.expected(parameters) / c.measured - 1) for c in known])
    left = np.array([abs(ratios[c.name] - 1) for c in known])
    print(f"{len(known)} networks, {len({c.family for c in known})} families")
    dense, grouped, depthwise, kernel_s = parameters
    print(f"dense {dense:.3f}, grouped {grouped:.3f}, depthwise {depthwise:.3f}, kernel {kernel_s * 1e6:.1f} us")
    print(f"in the fit: mean {fit_errors.mean():.1%}, median {np.median(fit_errors):.1%}")
    print(f"left out:   mean {left.mean():.1%}, median {np.median(left):.1%}, 90 % below {np.quantile(left, 0.9):.1%}")
    low, high = np.quantile([1 / r for r in ratios.values()], [0.1, 0.9])
    print(f"80 % of left-out measured times are within {low:.2f} to {high:.2f} of the expected")
    for kin in sorted({c.family for c in known}):
        errors = [ratios[c.name] - 1 for c in known if c.family == kin]
        mean, bias = np.abs(errors).mean(), np.mean(errors)
        print(f"  {kin:14} {len(errors):3} networks, mean error {mean:6.1%}, bias {bias:+6.1%}")


if __name__ == "__main__":
    main()
