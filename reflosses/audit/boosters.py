"""What LightGBM's and XGBoost's own objectives compute, read from the leaves of a tree with one row in each.

Neither library shows the gradients and Hessians of its built-in objectives, but both can refit the
leaves of a tree that is there: a leaf of one row becomes -g/(h + λ) for the row's own g and h.
Two regularisations λ tell the two apart.  Both libraries keep g and h as float32, and what is read
here are these numbers, to the last bit, down to 1e-35: LightGBM's leaves are float64, and drop what is
smaller; XGBoost's are float32, but it keeps Σ h of every leaf beside them.
"""

import json
import warnings

import numpy as np

WEIGHT = 2.0**64  # of every row in LightGBM, beside which the 1e-15 that it adds to Σ h is little
HEAVY = 2.0**30  # a λ beside which h vanishes: in float32, g/(λ + h) is then g/λ
ADDED = float(np.float32(1e-15)) / WEIGHT  # what is left of it
DEEP = 64  # levels of a tree: 20 split a million rows
IGNORED = "Ignoring params argument"  # LightGBM, of a model that is read


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
            "max_bin": max(len(z) + 1, 2),
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
        tree = lightgbm.train(
            {**options, "objective": lambda *_: (slopes, np.ones_like(slopes))}, data, num_boost_round=1
        )
        _alone(tree.predict(rows, pred_leaf=True))
        text = tree.model_to_string().replace("feature_names=", f"{_named(objective, classes)}\nfeature_names=", 1)

        def leaves(ridge):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", IGNORED)
                known = lightgbm.Booster(model_str=text)
            known.params = {**options, "objective": objective, "lambda_l2": ridge}
            weight = np.full(len(z), WEIGHT)
            refitted = known.refit(rows, y, decay_rate=0.0, weight=weight, init_score=z.astype(np.float64))
            return np.asarray(refitted.predict(rows, raw_score=True)).reshape(z.shape)[:n]

        free, ridged = leaves(0.0), leaves(WEIGHT)
        with np.errstate(divide="ignore", invalid="ignore"):
            gradient = np.where(ridged == 0, 0.0, free * ridged / (ridged - free))
            hessian = np.where(ridged == 0, 0.0, -gradient / free - ADDED)
        return None, gradient.astype(np.float32), hessian.astype(np.float32)

    return function


def _named(objective, classes):
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
            """Return the leaves' values and Σ h."""
            given = xgboost.DMatrix(rows, y, base_margin=z, nthread=1)
            update = {"process_type": "update", "updater": "refresh", "refresh_leaf": True, "reg_lambda": ridge}
            known = xgboost.Booster(model_file=structure)
            known.set_param({**options, **update, "objective": objective})
            known.update(given, 0)
            trees = json.loads(known.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
            columns = range(classes)
            read = [[np.take(trees[k][what], leaf[:, k]) for k in columns] for what in ("base_weights", "sum_hessian")]
            return [np.array(x, np.float32).T.reshape(z.shape[:0] + (n, *z.shape[1:])) for x in read]

        (light, hessian), (heavy, _) = refreshed(1.0), refreshed(HEAVY)
        return None, np.where(hessian < 1 / HEAVY, -light, -heavy * np.float32(HEAVY)), hessian

    return function


def _filled(z, y):
    """Return logits and labels with two rows more, and how many they were.

    A tree with one leaf is none, and LightGBM does not train on labels that are all the same.
    """
    return np.concatenate([z, z[-1:], z[-1:]]), np.concatenate([y, np.array([0, 1], y.dtype)]), len(z)


def _apart(rows, classes):
    """Return gradients so different that every row gets a leaf of its own."""
    slopes = rows - (len(rows) - 1) / 2
    return np.repeat(slopes, classes, axis=1) if classes > 1 else slopes[:, 0]


def _alone(leaf):
    """Return which leaf every row is in, for every class, if no two share one."""
    leaf = np.asarray(leaf).reshape(len(leaf), -1)
    assert all(len(np.unique(column)) == len(leaf) for column in leaf.T), "two rows share a leaf"
    return leaf
