"""The parameters, the products they ask for, and what all rules share."""

import contextlib
import fcntl
import glob
import os
import re
import shlex
import signal
import sys
import tempfile

import psutil
from snakemake.cli import get_argument_parser

from mmjsd import params, pipeline
from mmjsd.errors import MmjsdError
from mmjsd.records import reconcile

PARAMETER_FILE = config.get("params", "params.yaml")
PUBLISHED = Path(workflow.basedir) / pipeline.PUBLISHED

# strict, so that a step that fails is not hidden by `tee`; and the `mmjsd` that the rules call is that of the
# environment Snakemake runs in
shell.prefix(
    f"set -euo pipefail; PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; "
    # a signal that all of them get ends the step, once it has saved its work and said so; not these before
    "trap : INT TERM; tee() {{ trap '' INT TERM; command tee \"$@\"; }}; "
)

# modes of snakemake that run no step, and in which no record may go therefore
LOOKING_ON = """dryrun touch lint list_target_rules list_rules print_compilation containerize report
    generate_unit_tests dag rulegraph filegraph d3dag unlock cleanup_metadata conda_create_envs_only
    list_changes list_input_changes list_params_changes list_untracked summary detailed_summary archive""".split()


def tell(line):
    print(line, file=sys.stderr)


try:
    PARAMS = params.load(PARAMETER_FILE)
    PRODUCTS = pipeline.products(PARAMS, PUBLISHED)
except MmjsdError as faults:
    # as it is: raised, it would come with a traceback of this file
    tell(faults)
    sys.exit(1)

# Snakemake goes by file times. Once, before it looks at them, they are made to agree with the records; never
# under another snakemake that works in this folder. Each that does has a share of a lock, which the system
# takes back when it ends, however that comes, and which its jobs don't inherit.
STALE = {}
if workflow.is_main_process:
    asked, _ = get_argument_parser().parse_known_args()
    looking_on = any(getattr(asked, mode, None) for mode in LOOKING_ON)
    os.makedirs(".snakemake", exist_ok=True)
    at_work = os.open(".snakemake/mmjsd.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(at_work, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # whether that makes the same files, Snakemake's own locks tell
        tell("another snakemake is at work in this folder; if this one is refused, wait for that to end")
    else:
        if not looking_on:
            for left in glob.glob(".snakemake/locks/*"):  # by one that was killed
                os.unlink(left)
        stale = reconcile(PRODUCTS, apply=not looking_on, log=tell)
        if looking_on:
            # their records stay; an input newer than them has their steps planned all the same
            newer = tempfile.NamedTemporaryFile(prefix="other-than-recorded-")
            STALE = dict.fromkeys(stale, newer.name)
    if looking_on:
        os.close(at_work)
    else:
        fcntl.flock(at_work, fcntl.LOCK_SH)


onstart:
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
        found = [*product.inputs, *dict.fromkeys(records[path] for path in product.inputs if path in records)]
        return [*found, STALE[product.record]] if product.record in STALE else found

    return inputs


def pictures(product, folder, **marks):
    """The outputs of a step that draws, as patterns, marked for `snakemake --report`."""
    names = [path.name for path in product.outputs if path.suffix == ".png"]
    return [picture(f"{folder}/{name}", name.removesuffix(".png"), **marks) for name in names]


def picture(path, figure, subcategory, caption, seed):
    labels = {"figure": figure, "seed": seed}
    return report(path, category="{dataset}", subcategory=subcategory, caption=caption, labels=labels)


def one_of(names):
    return "|".join(map(re.escape, names))


wildcard_constraints:
    dataset=one_of(PARAMS.datasets),
    modality=one_of({name for dataset in PARAMS.datasets.values() for name in dataset.modalities}),
    run=one_of(PARAMS.runs),
    seed=one_of(map(str, PARAMS.seeds)),
