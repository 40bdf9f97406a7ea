"""Which parts of damoscope are installed, and what to install for the others."""

from __future__ import annotations

import importlib.util

from pipeline.errors import ConfigurationError

#: A module that only this part needs: where it is, the part is installed.
_SIGNS = {"frontend": "gradio", "worker": "onnxruntime", "eval": "pycocotools"}
#: The extras of the package that bring these parts.
_EXTRAS = {
    ("frontend",): "frontend",
    ("worker",): "worker-cpu or worker-gpu",
    ("eval",): "eval",
    ("frontend", "worker"): "cpu or gpu",
}


def require(*parts: str) -> None:
    """Raises ConfigurationError, which says what to install, when one of `parts` is missing."""
    missing = [part for part in parts if importlib.util.find_spec(_SIGNS[part]) is None]
    if missing:
        names = _EXTRAS[parts]
        first = names.split()[0]
        raise ConfigurationError(
            f"the {' and the '.join(missing)} of damoscope "
            f"{'is' if len(missing) == 1 else 'are'} not installed here; install it with the extra "
            f"{names}, such as: pip install 'damoscope[{first}]'"
        )
