"""What hydra-core makes of workloads: reads {"config_dir": ..., "cases": [[word, ...], ...]} and prints a list with one
object per case: {"tree": unresolved, "resolved": ...} or {"error": ...}."""

import json
import sys
import warnings

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

warnings.simplefilter("ignore")


def case(words):
    try:
        config = compose(config_name="config", overrides=words)
        workload = config.workload
        return {
            "tree": OmegaConf.to_container(workload, resolve=False),
            "resolved": OmegaConf.to_container(workload, resolve=True, throw_on_missing=True),
        }
    except Exception as error:  # Whatever it is, hydra refuses the case.
        return {"error": f"{type(error).__name__}: {error}"}
    except RecursionError as error:
        return {"error": f"RecursionError: {error}"}


request = json.load(sys.stdin)
with initialize_config_dir(config_dir=request["config_dir"], version_base=None):
    OmegaConf.register_new_resolver("now", lambda form: __import__("datetime").datetime.now().strftime(form), replace=True)
    print(json.dumps([case(words) for words in request["cases"]]))
