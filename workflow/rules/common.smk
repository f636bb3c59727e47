"""The parameters, the products they ask for, and what all rules share."""

import atexit
import contextlib
import logging
import os
import re
import shutil
import signal
import sys
import uuid

import psutil



def put_first(variable, folder):
    os.environ.update({variable: os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))})


# the code beside this workflow, whatever version is installed: a copy of another commit runs that commit's
SOURCE = Path(workflow.basedir) / "src"
if (SOURCE / "mmjsd").is_dir():
    sys.path.insert(0, str(SOURCE))
    put_first("PYTHONPATH", SOURCE)
# the `mmjsd` that the rules call is that of the environment Snakemake runs in
put_first("PATH", os.path.dirname(sys.executable))

from mmjsd import params, pipeline
from mmjsd.errors import MmjsdError
from mmjsd.locks import at_work
from mmjsd.records import discard_unfinished, reconcile

PUBLISHED = Path(workflow.basedir) / pipeline.PUBLISHED

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
    PRODUCTS = pipeline.products(PARAMS, PUBLISHED)
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
    named = isinstance(fault, OSError) and fault.filename
    tell(f"{fault.filename}: {fault.strerror}" if named else fault)
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
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        wait_for_jobs(number, frame)

    signal.signal(signal.SIGTERM, end)


def needs(step):
    """Input function of a rule: the files its product is made from, and the records of those."""

    def inputs(wildcards):
        product = step(wildcards)
        records = {path: made.record for made in PRODUCTS for path in made.outputs}
        made = dict.fromkeys(records[path] for path in product.inputs if path in records)
        return [*product.needed, *made, *([NEWER] if product.name in STALE else [])]

    return inputs


def pictures(product, folder, **marks):
    """The outputs of a step that draws, as patterns, marked for `snakemake --report`."""
    names = [path.name for path in product.outputs if path.suffix == ".png"]
    return [picture(f"{folder}/{name}", name.removesuffix(".png"), **marks) for name in names]


def picture(path, figure, subcategory, caption, seed):
    labels = {"figure": figure, "seed": seed}
    shown = report(path, category="{dataset}", subcategory=subcategory, caption=caption, labels=labels)
    return update(shown)


def one_of(names):
    return "|".join(map(re.escape, names))


wildcard_constraints:
    dataset=one_of(PARAMS.datasets),
    modality=one_of({name for dataset in PARAMS.datasets.values() for name in dataset.modalities}),
    run=one_of(PARAMS.runs),
    seed=one_of(map(str, PARAMS.seeds)),
