"""Jobs: one run of one operator over named data sets of named parties, under one grant."""
