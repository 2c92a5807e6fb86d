"""The grades, best first, and what they mean."""

GOOD = 4  # ulps: a formula of a few operations, each of which may lose one
GRADES = {
    "A": f"at most {GOOD} ulps off everywhere",
    "B": "backward stable: the exact result of logits a few last bits away",
    "C": "right on ordinary inputs; loses digits or breaks at saturation",
    "D": "not finite on ordinary inputs, or an epsilon or lost digits are visible there",
    "F": "another function: ordinary inputs are wrong by far",
}
