"""How fast timbrel is, as ratios against what people use today; `make bench` runs them, no test does."""
