"""Speed and memory, side by side in one run, printed as ratios. Nothing here is asserted: machines differ."""
