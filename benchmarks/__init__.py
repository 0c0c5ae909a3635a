"""Measures Sluiceway, two peers and the bare broker in one run on one machine: ``make bench``."""
