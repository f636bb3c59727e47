"""The parameters, the products they ask for, and what all rules share."""

import atexit
import contextlib
import gc
import logging
import os
import re
import shutil
import signal
import sys
import sysconfig
import threading
import time
import uuid

import psutil


def put_first(variable, folder):
    os.environ.update({variable: os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))})


# thousands of jobs are millions of objects, none of them garbage: looking for it takes a fifth of the time
gc.set_threshold(100_000)

# the code beside this workflow, whatever version is installed: a copy of another commit runs that commit's
SOURCE = Path(workflow.basedir) / "src"
if (SOURCE / "mmjsd").is_dir():
    sys.path.insert(0, str(SOURCE))
    put_first("PYTHONPATH", SOURCE)
# the `mmjsd` that the rules call is that of the environment Snakemake runs in
put_first("PATH", os.path.dirname(sys.executable))

# steps keep large blocks of memory, on huge pages where there are any, instead of asking for them anew: glibc reads
# this when a process starts, and training is 1.04 to 1.08 times as fast
KEEP_MEMORY = {"hugetlb": 1, "mmap_threshold": 2**32, "trim_threshold": 2**33}
os.environ.setdefault("GLIBC_TUNABLES", ":".join(f"glibc.malloc.{k}={v}" for k, v in KEEP_MEMORY.items()))

# steps start in half the time where modules are compiled already: they keep here what containers tell Python not to
# write beside the modules, or what may not be written there
if sys.dont_write_bytecode or not os.access(sysconfig.get_path("purelib"), os.W_OK):
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", os.path.abspath(".snakemake/mmjsd/bytecode"))

from mmjsd import params
from mmjsd.errors import MmjsdError, in_a_line
from mmjsd.pipeline import STEPS, Step, gpus, steps
from mmjsd.provenance.locks import HOST, at_work
from mmjsd.provenance.reconcile import reconcile
from mmjsd.provenance.records import discard_unfinished
from mmjsd.tracking.notes import addresses
from mmjsd.tracking.store import tracking_store

# `--jobs` of a profile for a cluster: its jobs run on machines of which this one knows nothing
ELSEWHERE = workflow.resource_settings.nodes is not None

shell.prefix(
    # strict, so that a step that fails is not hidden by `tee`
    "set -euo pipefail; "
    # a signal that all of them get ends the step, once it has saved its work and said so; not these before
    "trap : INT TERM; tee() {{ trap '' INT TERM; command tee \"$@\"; }}; "
)


def parameter_file():
    """The one that `--configfile FILE` or `--config params=FILE` names, else params.yaml."""
    named = [os.path.relpath(path) for path in workflow.overwrite_configfiles]
    given = dict(workflow.config_settings.config)
    if "params" in given:
        named.append(str(given.pop("params")))
    if given:
        raise MmjsdError(
            f"--config {next(iter(given))}: has no effect; change parameters in their file, "
            "or name another one by --configfile FILE"
        )
    if len(named) > 1:
        raise MmjsdError(f"{' and '.join(named)}: name one parameter file, not {len(named)}")
    return named[0] if named else "params.yaml"


def tell(line):
    print(line, file=sys.stderr)


# Snakemake goes by file times. Before it looks at them, they are made to agree with the records. A step whose
# product is stale gets a file as input that is newer than all others and never the same.
STALE, NEWER = set(), Path(".snakemake/mmjsd/newer")
try:
    PARAMETER_FILE = parameter_file()
    PARAMS = params.load(PARAMETER_FILE)
    ASKED = steps(PARAMS)
    PRODUCTS = [step.product for step in ASKED]
    RECORDS = {path: product.record for product in PRODUCTS for path in product.outputs}
    if workflow.is_main_process:
        presence = contextlib.ExitStack()
        atexit.register(presence.close)
        if presence.enter_context(at_work(NEWER.parent)):
            # a snakemake that was killed left these
            shutil.rmtree(".snakemake/locks", ignore_errors=True)
            shutil.rmtree(".snakemake/backup", ignore_errors=True)
        else:
            # whether that makes the same files, Snakemake's own locks tell
            tell("another snakemake is at work in this folder; if this one is refused, wait for that to end")
        NEWER.write_text(uuid.uuid4().hex)
        STALE = {product.name for product in reconcile(PRODUCTS, NEWER.stat().st_mtime_ns, tell)}
except (MmjsdError, OSError) as fault:
    # as it is: raised, it would come with a traceback of this file
    tell(f"{HOST}: {in_a_line(fault)}" if workflow.remote_exec else in_a_line(fault))
    sys.exit(1)


class NotOfBackups(logging.Filter):
    """Leaves out that a step that failed left its product as it was, once for each file."""

    def filter(self, record):
        return not str(record.msg).startswith(("Cannot restore ", "Restored previous version of "))


logging.getLogger("snakemake.logging").addFilter(NotOfBackups())


onstart:
    if not workflow.touch:
        discard_unfinished(PRODUCTS)
        # what is to be made although it is up to date, as `--force` and its like ask, must not seem so to its step
        for job in workflow.dag.needrun_jobs():
            if workflow.dag.reason(job).forced:
                for path in job.output:
                    if path.endswith("record.json"):
                        Path(path).unlink(missing_ok=True)

    # Snakemake waits for its jobs where it is asked to end; they are asked too
    wait_for_jobs = signal.getsignal(signal.SIGTERM)

    def end(number, frame):
        asked = set()

        def ask_jobs():
            for process in set(psutil.Process().children(recursive=True)) - asked:
                asked.add(process)
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()

        ask_jobs()
        wait_for_jobs(number, frame)
        time.sleep(2)
        ask_jobs()  # those that were selected when it was asked

    def end_beside(number, frame):
        # it would wait for ever for a lock that this thread holds while it selects jobs
        threading.Thread(target=end, args=(number, frame), daemon=True).start()

    signal.signal(signal.SIGTERM, end_beside)


onsuccess:
    store = tracking_store()
    if lines := list(addresses(store)):
        print(*lines, *([] if store.is_server else ["these are there while `mmjsd ui` runs"]), sep="\n")


# --- the rule of a step -----------------------------------------------------------------------------------


def by_step():
    """The steps, each with what it makes for the parameters."""
    return {step: [made for made in ASKED if type(made) is step] for step in STEPS}


def by_files(products):
    """What a step makes, grouped by the names of the files."""
    groups = {}
    for made in products:
        groups.setdefault(tuple(made.outputs()), []).append(made)
    return groups.values()


def rule_name(step, variant):
    return step.command.split()[-1] + (f"_{variant}" if variant else "")


def in_wildcards(pattern):
    return pattern.replace("{", "{wildcards.")


def wildcards_of(step):
    return re.findall(r"{(\w+)}", step.folder + step.record)


def chooser(alike):
    """Function: the one of the steps that the wildcards say, which match the names of others too, or None."""
    keys = wildcards_of(alike[0])
    steps = {tuple(str(step.values[key]) for key in keys): step for step in alike}
    return lambda wildcards: steps.get(tuple(getattr(wildcards, key) for key in keys))


def of_step(alike, tell):
    """What all of the steps tell, or else a resource function: Snakemake takes longer to call one."""
    amounts, chosen = {tell(step) for step in alike}, chooser(alike)
    return amounts.pop() if len(amounts) == 1 else lambda wildcards: tell(chosen(wildcards))


def more_each_time(amount):
    """Resource function: a job that was killed for it is submitted with more of it, as `retries` of a profile says.

    The amount is a number, or a resource function of its own.
    """
    first = amount if callable(amount) else lambda wildcards: amount
    return lambda wildcards, attempt: first(wildcards) * attempt


def needs(alike):
    """Input function: the records of the products that a step's product is made from, and other files."""
    chosen = chooser(alike)

    def inputs(wildcards):
        step = chosen(wildcards)
        if step is None:
            return [f"{PARAMETER_FILE} asks for no such thing"]  # a file that is missing
        product = step.product
        made = dict.fromkeys(RECORDS.get(path, path) for path in product.needed)
        return [*made, *([NEWER] if product.name in STALE else [])]

    return inputs


def outputs(step):
    """The files of a step as patterns. They stay until others take their place."""
    names = {f"file{number}": name for number, name in enumerate([*step.outputs(), step.record])}
    return {key: update(marked(step, f"{step.folder}/{name}")) for key, name in names.items()}


def marked(step, path):
    """A file, if it is for people marked for `snakemake --report`."""
    labels = {"figure": Path(path).stem, "seed": "{seed}" if "seed" in step.keys else "all"}
    if path.endswith(".png"):
        run = "{run}" if "run" in step.keys else "all runs"
        caption = f"../report/{'run' if 'run' in step.keys else 'dataset'}.rst"
        return report(path, category="{dataset}", subcategory=run, caption=caption, labels=labels)
    if path.endswith("comparison.csv"):
        return report(path, category="comparison", caption="../report/workflow.rst")
    return path


def constraints(step):
    """One folder's name for each wildcard: lists of thousands of names would be looked through for each file."""
    return dict.fromkeys(wildcards_of(step), "[^/]+")


def command(step):
    words = [step.command, *(f"--seed {{{key}}}" if key == "seed" else f"{{{key}}}" for key in step.keys)]
    # a checkpoint of the same origin is resumed; one of another origin is outdated, for the results are
    words += ["--replace"] if "--replace" in step.options else []
    return " ".join(words)
