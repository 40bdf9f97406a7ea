"""`python -m run.stack`: fetch, run, up, down, scale, status."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields, replace
from pathlib import Path

from pipeline.errors import ConfigurationError, DamoscopeError
from run import private_files
from run.processes import CannotStart
from run.stack import commands, dotenv
from run.stack.binaries import locate
from run.stack.native import OVERLAY_NONE, ROOT
from run.stack.ports import Ports

#: Workers where nothing says how many.
WORKERS = 2
OVERLAYS = (
    OVERLAY_NONE,
    "deploy/otel-collector.tail-sampling.yaml",
    "deploy/otel-collector.secured.yaml",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 2 with one line on standard error when it cannot be done."""
    options = _parser().parse_args(arguments)
    private_files.keep_private()
    try:
        return int(options.run(options) or 0)
    except (DamoscopeError, CannotStart) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m run.stack", description=__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, about: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(name, help=about, description=about)
        command.set_defaults(run=run)
        return command

    add("fetch", _fetch, "Find the servers' programs, download or build what is missing.")
    for name, run, about in (
        ("up", _up, "Start the stack in the background and wait until it is ready."),
        ("run", _run, "Run the stack in the foreground; Ctrl-C stops it."),
    ):
        command = add(name, run, about)
        _home(command)
        command.add_argument(
            "--workers", type=int, help=f"default: DAMOSCOPE_WORKERS, or else {WORKERS}"
        )
        command.add_argument("--overlay", choices=OVERLAYS, default=OVERLAY_NONE)
        names = ", ".join(field.name for field in fields(Ports))
        command.add_argument(
            "--port", action="append", default=[], metavar="NAME=PORT", help=f"one of {names}"
        )
        command.add_argument("--free-ports", action="store_true", help="any that are free")
    _home(add("down", _down, "Stop the stack that was started with `up`."))
    scale = add("scale", _scale, "Change the number of workers of the running stack.")
    scale.add_argument("workers", type=int)
    _home(scale)
    _home(add("status", _status, "Show the running stack's addresses and processes."))
    return parser


def _home(parser: argparse.ArgumentParser) -> None:
    default = Path("var") / "stack"
    parser.add_argument("--home", type=Path, default=default, help="data, default: %(default)s")


def _ports(options: argparse.Namespace) -> Ports:
    ports = Ports.free() if options.free_ports else Ports()
    known = {field.name for field in fields(Ports)}
    for item in options.port:
        name, _, number = item.partition("=")
        if name not in known or not number.isdecimal():
            raise ConfigurationError(
                f"--port {item}: expected NAME=PORT with NAME one of {sorted(known)}"
            )
        ports = replace(ports, **{name: int(number)})
    return ports


def _fetch(_: argparse.Namespace) -> None:
    for name, path in locate(ROOT).items():
        print(f"{name:<14} {path}")


def _workers(options: argparse.Namespace) -> int:
    """How many workers are asked for; the programs that are started inherit .env from here."""
    dotenv.load(ROOT)
    given = os.environ.get("DAMOSCOPE_WORKERS") or str(WORKERS)
    if options.workers is None and not given.isdecimal():
        raise ConfigurationError(f"DAMOSCOPE_WORKERS={given}: expected a number")
    return int(given) if options.workers is None else int(options.workers)


def _up(options: argparse.Namespace) -> None:
    workers = _workers(options)
    commands.up(options.home, _ports(options), workers, options.overlay, print)


def _run(options: argparse.Namespace) -> None:
    workers = _workers(options)
    commands.run(options.home, _ports(options), workers, options.overlay)


def _down(options: argparse.Namespace) -> None:
    print("stopped" if commands.down(options.home) else "no stack runs here")


def _scale(options: argparse.Namespace) -> None:
    commands.scale(options.home, options.workers, print)


def _status(options: argparse.Namespace) -> int:
    state = commands.status(options.home)
    if not state:
        print("no stack runs here")
        return 1
    ports, has_pages = Ports(**state["ports"]), state.get("jaeger_has_pages", True)
    print("\n".join(commands.addresses(ports, has_pages)))
    for name, pid in state["processes"].items():
        print(f"  {name:<14} {'process ' + str(pid) if pid else 'ended'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
