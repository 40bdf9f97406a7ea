"""Train a DAMO-YOLO on data of one's own, and make ONNX of it.

    python -m training.own --data FOLDER --output runs/mine

Data are YOLO or COCO labels, as `damoscope eval` takes them. The same command again goes on where a
training was interrupted, however it ended. FOLDER/model.onnx is what `damoscope` runs.
"""

import argparse
import json
import math
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from pipeline.errors import ConfigurationError
from training import plots, train
from training.album import SIDE
from training.export import check_parity, export_onnx
from training.images import read_inputs
from training.network import ExportNetwork, read_checkpoint
from training.own_data import OwnData, read_own
from training.start import CannotStart, build, input_side, read_start, state_of, with_classes

BUNDLED = Path(__file__).parent.parent / "models" / "damoyolo_ns_phone.onnx"
#: Seconds between two checkpoints: what is lost at most when a training is killed.
SAVE_S = 60.0
#: Where nothing was validated without an object, the threshold that the file names.
SCORE_THRESHOLD, IOU_THRESHOLD = 0.4, 0.65
#: Images that PyTorch and ONNX Runtime are compared on.
COMPARED = 4


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder, data.yaml or COCO's JSON")
    parser.add_argument("--valid", type=Path, help="the same, to validate on")
    parser.add_argument("--classes", nargs="+", default=[], help="only these; default: all")
    parser.add_argument("--output", type=Path, required=True, help="folder of this training")
    parser.add_argument("--name", help="the model's; default: the folder's")
    parser.add_argument(
        "--start",
        default="bundled",
        help="bundled, a DAMO-YOLO in ONNX, or a checkpoint: another run's last.pt, or anybody's",
    )
    parser.add_argument("--epochs", type=float, default=50)
    parser.add_argument("--input", type=int, help="height and width; default: 320, 416 or 640")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--rates", type=float, nargs=2, default=(1e-3, 1e-5), help="first, last")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=1, help="on a CPU, one core each")
    parser.add_argument("--validations", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def configuration(arguments: argparse.Namespace, own: OwnData, size: int) -> dict[str, Any]:
    """All that decides what comes out; a training goes on only with the same."""
    images = len(own.data.pictures)
    return {
        "data": str(arguments.data),
        "valid": str(arguments.valid) if arguments.valid else None,
        "classes": list(own.names),
        "images": images,
        "images_without_objects": len(own.data.groups[2]),
        "validated_images": sum(map(len, own.data.validated.values())),
        "start": arguments.start,
        "input": size,
        "epochs": arguments.epochs,
        "steps": max(1, math.ceil(arguments.epochs * images / arguments.batch_size)),
        "batch_size": arguments.batch_size,
        "rates": list(arguments.rates),
        "device": arguments.device,
        "processes": arguments.processes,
        "validations": arguments.validations,
        "seed": arguments.seed,
    }


def taken_up(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether the folder holds this very training; raises CannotStart where it holds another."""
    file = folder / "config.json"
    if not file.exists():
        return False
    known = json.loads(file.read_text())
    other = [key for key in wanted if known.get(key) != wanted[key]]
    if other:
        listed = ", ".join(f"{key} {known.get(key)} -> {wanted[key]}" for key in other)
        raise CannotStart(f"{folder} holds a training with other settings ({listed}): take another "
                          "--output, or remove it")  # fmt: skip
    return True


def input_size(arguments: argparse.Namespace, size: str, start: Path) -> int:
    """Height and width of the input: as asked for, as the start has it, or as upstream has it."""
    if arguments.input:
        if arguments.input % 32 or not 64 <= arguments.input <= 1536:
            raise CannotStart(f"--input {arguments.input}: 64 to 1536, in steps of 32")
        return int(arguments.input)
    if start.suffix == ".onnx":
        return input_side(start) or (416 if size.startswith("n") else 640)
    return 416 if size.startswith("n") else 640


def begin(arguments: argparse.Namespace, own: OwnData, folder: Path) -> tuple[dict[str, Any], int]:
    """Show the configuration, and write it and the first weights where this is no continuation.

    Returns what `training.start.build` wants, and the input's size.
    """
    path = BUNDLED if arguments.start == "bundled" else Path(arguments.start)
    if not path.is_file():
        raise CannotStart(f"--start {path}: no such file")
    start = read_start(path)
    size = input_size(arguments, start.size, path)
    wanted = configuration(arguments, own, size)
    known = taken_up(folder, wanted)
    for key, value in wanted.items():
        print(f"  {key}: {value}", flush=True)
    for note in own.notes:
        print(f"  {note}", flush=True)
    spec = {"size": start.size, "classes": len(own.names), "relu": start.relu, "deployed": True}
    if not known:
        weights = state_of(with_classes(start, list(own.names)))
        content: dict[str, Any] = dict(weights)
        if not start.folded:  # its batch norms are those of a training: nothing to restore
            content = {"weights": weights, "training": {"spec": {**spec, "labels": own.names}}}
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(content, folder / "start.pt")
        (folder / "config.json").write_text(json.dumps(wanted, indent=1))
    return spec, size


def train_own(arguments: argparse.Namespace, own: OwnData, spec: dict[str, Any], size: int) -> None:
    """Train to the end, from the last checkpoint where there is one."""
    folder, last = arguments.output, arguments.output / "last.pt"
    config = json.loads((folder / "config.json").read_text())
    need = len(own.data.pictures) * 3 * SIDE * SIDE
    if shutil.disk_usage(folder).free < need:
        raise CannotStart(f"{folder}: the decoded images need {need / 1e9:.1f} GB of disk there")
    settings = train.make_parser().parse_args([str(last), "--steps", str(config["steps"])])
    settings.spec, settings.labels, settings.save_s = spec, list(own.names), SAVE_S
    settings.log, settings.shares = folder / "log.jsonl", own.shares
    settings.sizes, settings.deployed_size = [size], size
    for name in ("batch_size", "rates", "device", "processes", "validations", "seed"):
        setattr(settings, name, getattr(arguments, name))
    settings.start = folder / "start.pt"
    if last.exists():
        _, _, state = read_checkpoint(last)
        settings.start, settings.resume, settings.from_step = None, last, state["step"]
        if state["step"] >= config["steps"]:
            print("already trained to the end", flush=True)
            return
        print(f"going on from step {state['step']} of {config['steps']}", flush=True)
    try:
        train.run(settings, own.data, folder)
    finally:
        (folder / "album.npy").unlink(missing_ok=True)
        draw_course(folder, config["steps"])


def draw_course(folder: Path, steps: int) -> None:
    """Write the plots of what the log holds."""
    text = plots.course(plots.read_log(folder / "log.jsonl"), steps)
    (folder / "course.svg").write_text(text)


def export(arguments: argparse.Namespace, own: OwnData, spec: dict[str, Any], size: int) -> Path:
    """Write model.onnx, compared with PyTorch, with names, thresholds and the record inside."""
    folder = arguments.output
    weights, record, _ = read_checkpoint(folder / "last.pt")
    network = build(**spec)
    network.load_state_dict(weights)
    deployed, path = ExportNetwork(network, size, size).eval(), folder / "model.onnx"
    partial = folder / "model.partial.onnx"
    export_onnx(deployed, partial, size, size)
    valid = record["valid"]
    # Rounded up, so that it holds what validation allowed.
    threshold = math.ceil(100 * valid.get("threshold", SCORE_THRESHOLD)) / 100
    describe(partial, {
        "name": arguments.name or folder.resolve().name,
        "labels": json.dumps(list(own.names)),
        "score_threshold": str(min(threshold, 1.0)),
        "iou_threshold": str(IOU_THRESHOLD),
        "input_size": json.dumps([size, size]),
        "training": json.dumps(record),
    })  # fmt: skip
    apart = check_parity(deployed, partial, read_inputs(own.data.pictures[:COMPARED], size, size))
    partial.replace(path)
    print(f"AP50 {valid['photographs']:.3f} on what was validated on; threshold {threshold:g}")
    print(f"{path}: as PyTorch within {apart[0]:.1e} of a score and {apart[1]:.1e} px")
    return path


def describe(path: Path, metadata: dict[str, str]) -> None:
    """Put metadata into the file, and drop what the exporter left of this machine."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {f"damoscope.{key}": v for key, v in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main() -> None:
    warnings.simplefilter("ignore")
    arguments = make_parser().parse_args()
    np.random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    try:
        own = read_own(arguments.data, arguments.valid, arguments.classes)
        spec, size = begin(arguments, own, arguments.output)
        train_own(arguments, own, spec, size)
        path = export(arguments, own, spec, size)
    except (ConfigurationError, CannotStart, ValueError, OSError) as error:
        sys.exit(f"training.own: {error}")
    name = arguments.name or arguments.output.resolve().name
    print(
        f"\nJudge it on images that it never saw, install it, and run it:\n"
        f"  damoscope eval --data ... --model {path}\n"
        f"  damoscope model import {path} --name {name}\n"
        f"  damoscope up --model {name}"
    )


if __name__ == "__main__":
    main()
