"""What LightGBM's and XGBoost's own objectives compute, read from the leaves of a tree with one row in each.

Neither library shows the gradients and Hessians of its built-in objectives, but both can refit the
leaves of a tree that is there: a leaf of one row becomes -g/(h + λ) for the row's own g and h.
Two regularisations λ tell the two apart.  Both libraries keep g and h as float32, and what is read
here are these numbers to the last bit, down to 1e-36 in LightGBM and 1e-38 in XGBoost.
"""

import json
import warnings

import numpy as np

# LightGBM's leaves are float64, but it adds 1e-15 to Σ h, drops leaves below 1e-35, and a g of 0 hides h.
# So rows weigh so much that the 1e-15 is little, and share their leaf with a probe of little weight.
WEIGHT = 2.0**64
ADDED = float(np.float32(1e-15)) / WEIGHT
PROBE = 2.0**-90  # of a row's weight
LAST = 2.0**-50  # of a sum in float64: a few last bits
IGNORED = "Ignoring params argument"  # LightGBM, of a model that is read
HEAVY = 2.0**30  # XGBoost's leaves are float32, but -g/(h + λ) is -g/λ there for this λ, and -g for h < 1/λ and λ = 1
DEEP = 64  # levels of a tree: 20 split a million rows


def lightgbm(objective):
    """Return the gradient and Hessian diagonal of one of LightGBM's objectives as an implementation."""

    def function(loss, z, y):
        import lightgbm

        z, y, n = _filled(z, y)
        classes = 1 if z.ndim == 1 else z.shape[1]
        rows = np.arange(len(z), dtype=np.float64)[:, None]
        options = {
            "boost_from_average": False,
            "learning_rate": 1.0,
            "max_bin": len(z) + 1,
            "min_data_in_bin": 1,
            "min_data_in_leaf": 1,
            "min_sum_hessian_in_leaf": 0.0,
            "num_class": classes,
            "num_leaves": len(z),
            "num_threads": 1,
            "verbosity": -1,
        }
        slopes = _apart(rows, classes)
        data = lightgbm.Dataset(rows, np.zeros(len(z)), params=options)
        apart = {**options, "objective": lambda *_: (slopes, np.ones_like(slopes))}
        tree = lightgbm.train(apart, data, num_boost_round=1)
        _alone(tree.predict(rows, pred_leaf=True))
        text = tree.model_to_string().replace("feature_names=", f"{_named(objective, classes)}\nfeature_names=", 1)
        probed = {
            "data": np.concatenate([rows, rows[:n]]),
            "label": np.concatenate([y, np.repeat(y[-1:], n)]),
            "init_score": np.concatenate([z, np.repeat(z[-1:], n, axis=0)]).astype(np.float64),
            "weight": np.repeat([WEIGHT, WEIGHT * PROBE], [len(z), n]),
        }

        def leaves(ridge):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", IGNORED)
                known = lightgbm.Booster(model_str=text)
            known.params = {**options, "objective": objective, "lambda_l2": ridge}
            refitted = known.refit(**probed, decay_rate=0.0)
            return np.asarray(refitted.predict(rows, raw_score=True)).reshape(z.shape)[[*range(n), -1]]

        free, ridged = leaves(0.0), leaves(WEIGHT)
        gradient = free * ridged / (ridged - free)
        hessian = -gradient / free - ADDED
        return None, _without_probe(gradient), _without_probe(hessian)

    return function


def _without_probe(x):
    """Return what is left of sums without the probe, which stands alone in the last row; 0 if it is rounding."""
    probe = PROBE * x[-1]
    own = x[:-1] - probe
    return np.where(np.abs(own) < LAST * np.abs(probe), 0, own).astype(np.float32)


def _named(objective, classes):
    """Return an objective as a model's text names it."""
    return f"objective={objective} " + (f"num_class:{classes}" if classes > 1 else "sigmoid:1")


def xgboost(objective):
    """Return the gradient and Hessian diagonal of one of XGBoost's objectives as an implementation."""

    def function(loss, z, y):
        import xgboost

        z, y, n = _filled(z, y)
        classes = 1 if z.ndim == 1 else z.shape[1]
        rows = np.arange(len(z), dtype=np.float32)[:, None]
        options = {"learning_rate": 1.0, "max_depth": DEEP, "min_child_weight": 0.0, "nthread": 1, "verbosity": 0}
        options |= {"num_class": classes} if classes > 1 else {}
        slopes = _apart(rows, classes)
        data = xgboost.DMatrix(rows, nthread=1)
        tree = xgboost.Booster({**options, "tree_method": "exact", "reg_lambda": 0.0}, [data])
        tree.boost(data, 0, grad=slopes, hess=np.ones_like(slopes))
        leaf = _alone(tree.predict(data, pred_leaf=True)).astype(int)[:n]
        structure = bytearray(tree.save_raw("json"))

        def refreshed(ridge):
            """Return the value and Σ h of every row's leaf."""
            given = xgboost.DMatrix(rows, y, base_margin=z, nthread=1)
            update = {"process_type": "update", "updater": "refresh", "refresh_leaf": True, "reg_lambda": ridge}
            known = xgboost.Booster(model_file=structure)
            known.set_param({**options, **update, "objective": objective})
            known.update(given, 0)
            trees = json.loads(known.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
            for what in "base_weights", "sum_hessian":
                columns = [np.take(trees[k][what], leaf[:, k]) for k in range(classes)]
                yield np.stack(columns, axis=1).astype(np.float32).reshape(z[:n].shape)

        (light, hessian), (heavy, _) = refreshed(1.0), refreshed(HEAVY)
        return None, np.where(hessian < 1 / HEAVY, -light, -heavy * np.float32(HEAVY)), hessian

    return function


def _filled(z, y):
    """Return logits and labels with two rows more, and how many they were.

    A tree with one leaf is none, and LightGBM does not train on labels that are all the same.
    """
    return (
        np.concatenate([z, np.zeros_like(z[:1]), np.zeros_like(z[:1])]),
        np.concatenate([y, np.array([0, 1], y.dtype)]),
        len(z),
    )


def _apart(rows, classes):
    """Return gradients so different that every row gets a leaf of its own."""
    slopes = rows - (len(rows) - 1) / 2
    return np.repeat(slopes, classes, axis=1) if classes > 1 else slopes[:, 0]


def _alone(leaf):
    """Return which leaf every row is in, for every class, if no two share one."""
    leaf = np.asarray(leaf).reshape(len(leaf), -1)
    assert all(len(np.unique(column)) == len(leaf) for column in leaf.T), "two rows share a leaf"
    return leaf
