"""From which rate on does an infection spread? Ten rates, five seeds each, on all cores.

Stopped in the middle, the next start does not do a finished run again.
"""

import corec

TOWN = {"bloques": [{"id": "town", "canal": 1, "entidades": 2000, "procesador": "sir"}]}
RATES = [0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0]

runs = corec.sweep(
    TOWN, over={"town.beta": RATES}, seeds=5, ticks=300, collect={"town": ["mean(fase != 0)"]},
    path="threshold.jsonl",
)  # fmt: skip

for rate in RATES:
    share = runs["town.mean(fase != 0)"][runs["town.beta"] == rate].mean()
    print(f"beta {rate:4.2f}: {share:6.1%} were ill")
