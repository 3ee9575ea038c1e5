"""Connecting to Ray: to the cluster that a job was submitted to, or to one that runs on this machine as long as the job."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import ray
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import GetTimeoutError, NodeDiedError, OutOfMemoryError, RayActorError, RayError, WorkerCrashedError

from dfd_ray.errors import RESUMES, DfdError, ResourceError
from dfd_ray.runtime.ray_internals import LOCAL_OPTIONS, find_active_operators, find_session_folder, quieten_loggers
from dfd_ray.runtime.terminal import divert_output, is_quiet, warn
from dfd_ray.sections import Pool
from dfd_ray.store.run import Run

HELPER_CPUS = 3
"""Logical CPUs of a local Ray beyond its cores. Ray Data's checkpoint filter and its listing task each hold a whole CPU and
hardly use it; on a machine of two cores they would leave none for the work."""

ATTEMPTS = 2
"""Times that a task of minutes or hours is tried again when its worker died. Ray's defaults are without limit."""

RETRIES = 50
"""Times that a task of seconds is tried again. The death of one node costs an actor's task about seven: Ray learns of the death
after some fifteen seconds, and sends the task to the dead actor until then."""

RESTARTS = 1000
"""Times that an actor is started again: nodes may die all through a long job. Tasks that kill their actor end at `RETRIES`."""

EXIT_SECONDS = 30
"""Seconds that the process of an actor may take to exit; it takes about two."""

DEATHS = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""What Ray raises when workers died more often than a task is tried again."""

_shared: ExitStack | None = None
"""What `shared_session` ends, if there is one."""


@contextmanager
def ray_session(run: Run) -> Iterator[None]:
    """Connect to Ray within: to the cluster that RAY_ADDRESS names, or to one started on this machine.

    Within another session, or `shared_session`, use that Ray and keep it. An error of ours that a task or an actor raised
    is raised as it was.
    """
    with ExitStack() as own:
        if not ray.is_initialized():
            (_shared or own).enter_context(_connection(run))
        DataContext.get_current().execution_no_progress_timeout_s = 60 * run.config.resources.wait_minutes
        with unwrap_errors():
            yield


@contextmanager
def shared_session() -> Iterator[None]:
    """Let several jobs share one Ray: within, the first `ray_session` starts it, and it ends at the end."""
    global _shared
    with ExitStack() as stack:
        outer, _shared = _shared, _shared or stack
        try:
            yield
        finally:
            _shared = outer


@contextmanager
def _connection(run: Run) -> Iterator[None]:
    """Connect to Ray, and disconnect at the end; from the command line, keep Ray's output in a log."""
    with _ray_log(run) if is_quiet() else nullcontext():
        try:
            _connect(run)
            yield
        finally:
            ray.shutdown()


@contextmanager
def _ray_log(run: Run) -> Iterator[None]:
    """Keep what Ray prints within in a log. An error names it, unless it is one of ours that has nothing to do with Ray."""
    log = choose_log_file(run)
    try:
        with divert_output(log):
            yield
    except Exception as error:
        if isinstance(error, ResourceError) or not isinstance(error, DfdError):
            error.add_note(f"Ray's log is {log}")
        raise


def choose_log_file(run: Run) -> Path:
    """Return where Ray's output goes: `<run>/logs/ray.log`, or a temporary file if the run is in object storage."""
    if "://" in run.location:
        return Path(tempfile.mkdtemp(prefix="dfd-ray-")) / "ray.log"
    folder = Path(run.location) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "ray.log"


def _connect(run: Run) -> None:
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    else:
        quieten_loggers()  # Ray has something to say as it starts, too
        cores = run.config.resources.cpus or os.cpu_count() or 1
        ray.init(
            address="local",
            num_cpus=cores + HELPER_CPUS,
            object_store_memory=int(run.config.resources.object_store_gib * 2**30),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            **LOCAL_OPTIONS,
        )
    if is_quiet():
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} Ray's other logs on this machine are in {find_session_folder()}/logs")
    configure_data()


def check_placeable(stage: str, pool: Pool) -> None:
    """Raise ResourceError when this machine can never hold one task or actor of a stage.

    On a cluster, print on standard error that no node can. The job waits, for `resources.wait_minutes` at most: a node may
    still be starting, or an autoscaler may bring one, and Ray does not know what an autoscaler can bring.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for resource, wanted, field in [("CPU", pool.num_cpus, "num_cpus"), ("GPU", pool.num_gpus, "num_gpus")]:
        largest = max((node.get(resource, 0.0) for node in nodes), default=0.0)
        if wanted <= largest:
            continue
        asked = f"{stage} asks for {wanted:g} {resource}s a worker"
        remedy = f"--set resources.{stage}.{field}={largest:g}"
        refuse_or_wait(
            f"{asked}, this machine has {largest:g}; {remedy}",
            f"{asked}, no node of the cluster has more than {largest:g}; waiting for one, {read_wait_limit() / 60:g} minutes "
            f"at most (resources.wait_minutes). If none is coming, stop the job and start a larger node, or {remedy}",
        )


def await_room(stage: str, pool: Pool) -> None:
    """Check as `check_placeable` does; on a cluster, wait until a task has run, for `resources.wait_minutes` at most."""
    check_placeable(stage, pool)
    if os.environ.get("RAY_ADDRESS"):
        ask = ray.remote(lambda: None).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, name=stage)
        ray.get(ask.remote(), timeout=read_wait_limit())


def refuse_or_wait(refusal: str, notice: str) -> None:
    """Raise ResourceError on one machine, which will not grow; on a cluster, print what the job waits for."""
    if not os.environ.get("RAY_ADDRESS"):
        raise ResourceError(refusal)
    warn(f"dfd-ray: {notice}")


def run_as_tasks(pool: Pool) -> dict[str, object]:
    """Return `map_batches` arguments that run a function as tasks."""
    size = pool.max_size or _count_local_cores()
    return {"compute": TaskPoolStrategy(size=size), "num_cpus": pool.num_cpus, "max_retries": RETRIES}


def run_as_actors(pool: Pool, pools: int = 1, deaths_of_a_task: int = 0) -> dict[str, object]:
    """Return `map_batches` arguments that run a class as a pool of actors.

    On one machine a pool starts at its full size: there are no nodes to wait for, and growing takes longer than a small job.
    `pools` is the number of such pools in the dataset. On one machine they share the cores: if they held every CPU, the tasks
    that feed them would wait for ever. `deaths_of_a_task` is the number of workers that the videos of one task may kill
    beyond `RETRIES`; `try_video` limits it.
    """
    cores = _count_local_cores()
    room = max(1, int(cores / pools / pool.num_cpus)) if cores else None
    if room and pool.num_gpus > 0:
        room = min(room, int(ray.cluster_resources().get("GPU", 0) / pools / pool.num_gpus)) or 1
    limit = pool.max_size or room
    smallest = pool.min_size if os.environ.get("RAY_ADDRESS") or limit is None else limit
    return {
        "compute": ActorPoolStrategy(min_size=smallest, max_size=limit),
        "num_cpus": pool.num_cpus,
        "num_gpus": pool.num_gpus,
        "max_restarts": RESTARTS,
        "max_task_retries": RETRIES + deaths_of_a_task,
    }


@contextmanager
def unwrap_errors() -> Iterator[None]:
    """Raise an error of ours that a task or an actor raised within as it was, without Ray's traceback around it.

    When workers or nodes died too often, raise ResourceError; likewise when nothing moved for `resources.wait_minutes`, with
    the names of the stages at work.
    """
    try:
        yield
    except (ExecutionTimeoutError, GetTimeoutError) as error:
        raise ResourceError(explain_waiting(str(error), read_wait_limit())) from None
    except RayError as error:
        inner: BaseException | None = error
        while inner is not None and (isinstance(inner, RayError) or not isinstance(inner, DfdError)):
            inner = getattr(inner, "cause", None) or inner.__cause__
        if inner is not None:
            raise inner from None
        if not isinstance(error, DEATHS):
            raise
        said = str(error).strip().splitlines()[0]
        raise ResourceError(f"workers died more often than a task is tried again: {said}; {RESUMES}") from error


def read_wait_limit() -> float:
    """Return the seconds that a job waits without progress before it ends."""
    return float(DataContext.get_current().execution_no_progress_timeout_s)


def explain_waiting(said: str, seconds: float) -> str:
    """Return in one line what did not move, from what Ray Data reports of its operators."""
    stages = find_active_operators(said)
    working = "; ".join(f"{name}, {count} at work" for name, count in stages) or "a worker that could not be placed"
    return (
        f"no progress in {seconds / 60:g} minutes (resources.wait_minutes): {working}. If none is at work, no node can hold "
        "what the stage asks for (resources); where some are, they hang. The same command resumes where it stopped"
    )


def pick_device(pool: Pool) -> str:
    """Return where a stage's nets run: "cuda" if it asks for a share of a GPU, else "cpu"."""
    return "cuda" if pool.num_gpus > 0 else "cpu"


def limit_exit(seconds: int = EXIT_SECONDS) -> None:
    """Have the calling actor's process killed if it takes more than so many seconds to exit; in a driver, do nothing.

    The destructors of Ray 2.60 may wait for ever: a message still queued when the event loop is destroyed posts another one,
    under the lock that posting takes. Ray no longer watches the process by then, so it would keep its memory and its share of a
    GPU.
    """
    if ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        atexit.register(_set_alarm, seconds)


def _set_alarm(seconds: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the default kills, even when Python no longer runs
    signal.alarm(seconds)


def _count_local_cores() -> int | None:
    """Return the cores of a single machine, without Ray's logical CPUs beyond them; None on a cluster, where Ray decides."""
    if os.environ.get("RAY_ADDRESS"):
        return None
    return max(1, int(ray.cluster_resources().get("CPU", 1)) - HELPER_CPUS)


def configure_data() -> None:
    """Set what holds for every dataset: a failed block ends the job, and Ray Data shows no bars of its own."""
    context = DataContext.get_current()
    context.execution_options.preserve_order = False
    context.max_errored_blocks = 0
    # The newer Parquet reader starts 32 actors to read the footers of our few files: 14 s a dataset on two cores.
    context.use_datasource_v2 = False
    context.enable_progress_bars = False  # they count blocks; `progress.py` counts videos
    quieten_loggers()
