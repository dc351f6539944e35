"""A real Slurm cluster of one node: no systemd, no cgroups, no accounting database.

Two partitions, `cpu` and `gpu`, share a node that claims four processors, 17,000 MB and
one GPU or two. Slurm does not measure what is claimed (`config_overrides`), so a
machine of any size will do.

Needs root and Slurm's daemons; `missing` says in a sentence what is not there.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
# Where Debian's Slurm looks. SLURM_CONF is not enough: the plugin's job step takes
# it from the environment of its srun.
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
MEMORY_MB = 16_000
"""The most that a job may ask for."""
_SEARCH_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])

_SLURM_CONF = """\
ClusterName=foldmill
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
SlurmdPort={slurmd_port}
# A job that is requeued may start when its old credentials have expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
EnforcePartLimits=ALL
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2
# Finished jobs stay visible until the tests have looked at them.
MinJobAge=3600
# A node that does not answer is lost after five seconds, and may come back.
SlurmdTimeout=5
ReturnToService=2
KillWait=5
InactiveLimit=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory={memory_mb} Gres=gpu:{gpus}
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class SlurmJob:
    """What the controller says of a job."""

    job_id: str
    partition: str
    state: str
    comment: str
    """`rule_NAME_wildcards_BATCH`, as Snakemake's plugin writes it."""
    gres: str
    memory: str
    restarts: int
    """How often Slurm has put it back into the queue."""

    @property
    def is_predicting(self) -> bool:
        """Whether it is a predict job at work."""
        return self.rule == "predict" and self.state == "RUNNING"

    @property
    def is_of_snakemake(self) -> bool:
        """Whether a campaign submitted it."""
        return self.comment.startswith("rule_")

    @property
    def rule(self) -> str:
        """The rule that the job runs."""
        return self.comment.removeprefix("rule_").split("_wildcards_")[0]


def missing() -> str | None:
    """Why there can be no cluster here, or None."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_SEARCH_PATH)]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "Slurm's node daemon needs root"
    if SYSTEM_CONF.exists() and not _is_ours(SYSTEM_CONF):
        return f"{SYSTEM_CONF} is the configuration of another cluster"
    if SYSTEM_CONF.exists() and _answers():
        return "another run of these tests has its cluster up"
    return None


def _is_ours(conf: Path) -> bool:
    return conf.is_symlink() and "ClusterName=foldmill" in conf.read_text("utf-8")


def _answers() -> bool:
    ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True)
    return "is UP" in ping.stdout


class Node:
    """The cluster's daemons, children of this process."""

    def __init__(self, folder: Path, gpus: int = 1) -> None:
        self.folder, self.gpus = folder, gpus
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Configures and starts the cluster.

        Raises:
            RuntimeError: a daemon does not come up; the message names its log.
        """
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._write_configuration()
        key, munge_socket = self.folder / "munge.key", self.folder / "munge.socket"
        self._spawn(
            *("munged", "--foreground", "--force", f"--key-file={key}"),
            *(f"--socket={munge_socket}", f"--pid-file={self.folder}/munged.pid"),
            *(f"--seed-file={self.folder}/munged.seed", "--origin=127.0.0.1"),
            f"--log-file={self.folder}/log/munged.log",
        )
        self._await("munged", munge_socket.exists)
        self._spawn("slurmctld", "-D")
        self._await("slurmctld", _answers)
        self.start_slurmd()

    def start_slurmd(self) -> None:
        """Starts the node's daemon; the node takes jobs on return."""
        self._spawn("slurmd", "-D")
        self._await("slurmd", lambda: self.node_state() in ("idle", "mix", "alloc"))

    def lose_node(self) -> None:
        """The node vanishes: its daemon and everything that runs on it, at once."""
        self.daemons["slurmd"].kill()
        self.daemons["slurmd"].wait()
        _kill(self._job_processes())

    def hold_up(self, module: str) -> None:
        """Stops the jobs' processes that run this module."""
        for process in self._running(module):
            _ask(process.suspend, None)

    def let_go_on(self, module: str) -> None:
        """Lets go on what was held up."""
        for process in self._running(module):
            _ask(process.resume, None)

    def is_running(self, module: str) -> bool:
        """Whether a process of a job runs this module."""
        return bool(self._running(module))

    def devices_of(self, module: str) -> set[str]:
        """The GPUs that the jobs' processes that run this module may see."""
        found = [_ask(process.environ, {}) for process in self._running(module)]
        alive = [environment for environment in found if environment]
        return {environment.get("CUDA_VISIBLE_DEVICES", "") for environment in alive}

    def stop(self) -> None:
        """Ends the jobs, then the daemons."""
        if "slurmctld" in self.daemons:
            self.run("scancel", "--user=root")
        for name in ("slurmd", "slurmctld", "munged"):
            if name in self.daemons:
                self.daemons[name].terminate()
        _kill(self._job_processes())
        for daemon in self.daemons.values():
            daemon.wait(timeout=60)
        if SYSTEM_CONF.is_symlink() and SYSTEM_CONF.readlink() == self._conf:
            SYSTEM_CONF.unlink()

    def jobs(self) -> list[SlurmJob]:
        """All jobs there have been, in order of submission."""
        fields = "JobID Partition State Comment tres-per-node MinMemory RestartCnt"
        wanted = "".join(f"{field}:|," for field in fields.split())
        lines = self.run(
            *("squeue", "--states=all", "--noheader", "--sort=i", f"--Format={wanted}")
        ).splitlines()
        rows = [line.split("|") for line in lines]
        return [SlurmJob(*row[:6], restarts=int(row[6])) for row in rows]

    def node_state(self) -> str:
        """The node's state in one word, as `sinfo` says."""
        states = self.run("sinfo", "--noheader", "--partition=gpu", "--format=%t")
        return states.strip().rstrip("*")

    def run(self, *command: str) -> str:
        """The output of one of Slurm's commands; empty where it fails."""
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60
        ).stdout

    @property
    def _conf(self) -> Path:
        return self.folder / "slurm.conf"

    def _write_configuration(self) -> None:
        host = socket.gethostname().split(".")[0]
        port, slurmd_port = _free_ports(2)
        text = _SLURM_CONF.format(
            host=host,
            user="root",
            folder=self.folder,
            port=port,
            slurmd_port=slurmd_port,
            # Room for a small job beside the largest.
            memory_mb=MEMORY_MB + 1000,
            gpus=self.gpus,
        )
        self._conf.write_text(text, encoding="utf-8")
        # Slurm counts the GPUs of a node by their device files.
        gres = self.folder / "gres.conf"
        files = ("/dev/null", "/dev/zero")[: self.gpus]
        lines = [f"Name=gpu File={file}\n" for file in files]
        gres.write_text("".join(lines), encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        SYSTEM_CONF.parent.mkdir(exist_ok=True)
        SYSTEM_CONF.unlink(missing_ok=True)
        SYSTEM_CONF.symlink_to(self._conf)

    def _spawn(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=_SEARCH_PATH)
        with (self.folder / "log" / f"{program}.log").open("ab") as log:
            self.daemons[program] = subprocess.Popen(
                [str(path), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                # The daemons look for gres.conf beside it, through no link.
                env={**os.environ, "SLURM_CONF": str(self._conf)},
                start_new_session=True,
            )

    def _await(self, program: str, is_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not is_up():
            ended = self.daemons[program].poll() is not None
            if ended or time.monotonic() > deadline:
                log = (self.folder / "log" / f"{program}.log").read_text("utf-8")
                raise RuntimeError(f"{program} does not come up:\n{log[-2000:]}")
            time.sleep(0.1)

    def _running(self, module: str) -> list[psutil.Process]:
        return [p for p in self._job_processes() if module in _ask(p.cmdline, [])]

    def _job_processes(self) -> list[psutil.Process]:
        """Processes of the cluster's job steps, parents first.

        The step daemons keep the working directory of the slurmd that started them.
        """
        of_step = {"name": "slurmstepd", "cwd": str(self.folder)}
        steps = [p for p in psutil.process_iter(["name", "cwd"]) if p.info == of_step]
        below = [_ask(partial(step.children, recursive=True), []) for step in steps]
        return [*steps, *chain.from_iterable(below)]


@contextmanager
def one_node_cluster(folder: Path, *, gpus: int = 1) -> Iterator[Node]:
    """A cluster that lives as long as the block."""
    node = Node(folder, gpus)
    try:
        node.start()
        yield node
    finally:
        node.stop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for listener in sockets:
        listener.bind(("127.0.0.1", 0))
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        _ask(process.kill, None)


def _ask[Answer](question: Callable[[], Answer], of_the_dead: Answer) -> Answer:
    """The process's answer; it may have ended since it was found, or be a zombie."""
    try:
        return question()
    except psutil.NoSuchProcess:
        return of_the_dead
