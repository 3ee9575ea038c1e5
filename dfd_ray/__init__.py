"""dfd_ray: distributed, large-scale deepfake detection on Ray."""

import sys

__version__ = "0.1.0"

# OpenVINO reports each import and conversion to a web analytics service, from a process that it forks of ours, threads and
# credentials and all. Where this package cannot be imported it uses a stub that says nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
