"""Faster arithmetics for a bundle: made, measured against float32, and written to a new bundle."""

import sys

# OpenVINO and NNCF would report to Google Analytics through it, and go without where it lacks.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
