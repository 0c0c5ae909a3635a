"""The parts of the benchmark: each measures some figures once a round."""
