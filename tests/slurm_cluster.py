"""A SLURM of one node on loopback, from Debian's packages: munge, MariaDB, slurmdbd, slurmctld, slurmd.

    with Cluster(folder) as cluster: ...      # up in 3 to 10 s, gone afterwards
    python tests/slurm_cluster.py FOLDER      # by hand: up until Ctrl-C

The node says it has 32 CPUs, 256 GB and one GPU (GRES, on /dev/null), so that the profile's requests fit. Root only:
slurmd starts jobs, and slurmctld and its clients look for their configuration in /etc/slurm.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")
PROGRAMS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sacct")
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")  # in the order they start
PORT = 17300
NODE = "gpu01"


def why_not() -> str | None:
    """Why no cluster can be brought up here, None where one can; a real SLURM is never touched."""
    if os.geteuid() != 0:
        return "a SLURM of its own needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (.ci/run installs Debian's packages)"
    foreign = [str(ETC / name) for name in FILES if (ETC / name).exists() and not (ETC / name).is_symlink()]
    if foreign:
        return f"this machine has a SLURM of its own: {', '.join(foreign)}"
    _stop_leftover()
    if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
        return "a munged runs here already"
    return None


def _stop_leftover() -> None:
    """End the daemons of a session that was killed; the links in /etc/slurm say where they were started."""
    config = ETC / "slurm.conf"
    if config.is_symlink():
        Cluster(config.readlink().parent).down()


class Cluster:
    """The daemons of one folder, which should have a short path (its sockets are there)."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.run = self.folder / "run"
        self.log = self.folder / "log"
        self.socket = self.run / "db.sock"

    def __enter__(self) -> "Cluster":
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.down()

    def up(self) -> None:
        """Start everything and wait for an idle node."""
        for name in ("run", "log", "spool/ctld", "spool/d"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        self._write_configs()
        self._start_munge()
        self._start_database()
        self._start("slurmdbd")
        self._until("sacctmgr -n list cluster", "slurmdbd answers")
        self._call("sacctmgr -i add cluster wsss-test")
        self._start(f"slurmctld -f {self.folder}/slurm.conf")
        self._start(f"slurmd -f {self.folder}/slurm.conf -N {NODE}")
        self._until("sinfo -h -o %T | grep -q idle", "the node is idle")

    def down(self) -> None:
        """End all jobs and daemons, last started first, and take the links out of /etc/slurm."""
        if self._pid("slurmctld"):
            self._end_jobs()
        for name in reversed(DAEMONS):
            self._end(name)
        for name in FILES:
            if (ETC / name).is_symlink() and (ETC / name).readlink().parent == self.folder:
                (ETC / name).unlink()

    def accounted(self, *fields: str) -> list[dict[str, str]]:
        """One row a job (no steps) from slurmdbd, oldest first."""
        command = ["sacct", "-X", "-P", "-n", "-a", "-S", "now-1days", "-o", ",".join(fields)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [dict(zip(fields, line.split("|"), strict=True)) for line in lines]

    def queued(self, folder: Path, *states: str) -> dict[str, str]:
        """Job id -> comment of the jobs that work in `folder`; Snakemake's comments are rule_NAME_wildcards_VALUES."""
        command = ["squeue", "-h", "-t", ",".join(states), "-o", "%A|%k|%Z"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        rows = [line.split("|") for line in lines]
        return {number: comment for number, comment, where in rows if where == str(folder)}

    # --- the daemons

    def _end_jobs(self) -> None:
        """Cancel all jobs and wait until their processes have gone, as long as SLURM gives them (KillWait) and more."""
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            subprocess.run(["scancel", "--full", "-u", "root"], capture_output=True, timeout=30)
            left = subprocess.run(["squeue", "-h"], capture_output=True, text=True, timeout=30)
            if left.returncode or not left.stdout:
                return
            time.sleep(1)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        Path("/run/munge").mkdir(mode=0o755, exist_ok=True)  # sacctmgr finds munge's default socket only
        files = {name: f"{self.run}/munged.{name}" for name in ("pid", "seed")}
        self._start(
            f"munged --force --num-threads=2 --key-file={key} --pid-file={files['pid']} "
            f"--seed-file={files['seed']} --log-file={self.log}/munged.log"
        )

    def _start_database(self) -> None:
        """MariaDB without its system tables, which take longer to install than all the rest: no users, no rights."""
        (self.folder / "db").mkdir()
        self._start(
            f"mariadbd --no-defaults --user=root --skip-grant-tables --datadir={self.folder}/db "
            f"--socket={self.socket} --pid-file={self.run}/mariadbd.pid --bind-address=127.0.0.1 --port={PORT + 3} "
            "--innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 &"
        )
        self._until(f"mariadb-admin --no-defaults -S {self.socket} ping", "MariaDB answers")
        self._call(f'mariadb --no-defaults -S {self.socket} -e "CREATE DATABASE slurm"')

    def _start(self, command: str) -> None:
        """Start a daemon, which must not inherit pytest's pipes."""
        log = self.log / f"{command.split()[0]}.out"
        self._call(f"{command.removesuffix('&')} </dev/null >{log} 2>&1 {'&' * command.endswith('&')}")

    def _call(self, command: str) -> None:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{command}: status {done.returncode}: {done.stdout}{done.stderr}; see {self.log}")

    def _until(self, command: str, what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while subprocess.run(command, shell=True, capture_output=True, timeout=30).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not so after {seconds} s: {what}; see {self.log}")
            time.sleep(0.1)

    def _pid(self, name: str) -> int | None:
        """The daemon's process, None where it has gone or its number belongs to another program by now."""
        try:
            pid = int((self.run / f"{name}.pid").read_text())
            program, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(") ")
            state = rest[0]
        except (OSError, ValueError):
            return None
        return pid if program == name and state != "Z" else None

    def _end(self, name: str) -> None:
        for signum, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            deadline = time.monotonic() + seconds
            if pid := self._pid(name):
                os.kill(pid, signum)
            while self._pid(name) and time.monotonic() < deadline:
                time.sleep(0.05)

    # --- their configuration

    def _write_configs(self) -> None:
        texts = (
            SLURM_CONF.format(dir=self.folder, host=socket.gethostname().split(".")[0], node=NODE, port=PORT, next=PORT + 1, dbd=PORT + 2),
            f"AutoDetect=off\nNodeName={NODE} Name=gpu File=/dev/null\n",
            DBD_CONF.format(dir=self.folder, host=socket.gethostname().split(".")[0], dbd=PORT + 2, sql=PORT + 3),
        )
        ETC.mkdir(exist_ok=True)
        for name, text in zip(FILES, texts, strict=True):
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(text)
            # Snakemake's job step drops SLURM_CONF, so the default path must work.
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(self.folder / name)


SLURM_CONF = """\
ClusterName=wsss-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort={port}
SlurmdPort={next}
SlurmctldPidFile={dir}/run/slurmctld.pid
SlurmdPidFile={dir}/run/slurmd.pid
StateSaveLocation={dir}/spool/ctld
SlurmdSpoolDir={dir}/spool/d
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0
SwitchType=switch/none
MpiDefault=none
PlugStackConfig=/dev/null
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=300
KillWait=20
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=60
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=256000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""

DBD_CONF = """\
AuthType=auth/munge
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
PidFile={dir}/run/slurmdbd.pid
LogFile={dir}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(reason)
    for signum in (signal.SIGINT, signal.SIGTERM):  # also where a shell started it in the background
        signal.signal(signum, lambda *_: sys.exit())
    with Cluster(Path(sys.argv[1]).resolve()):
        print("up; Ctrl-C ends it", flush=True)
        signal.pause()
