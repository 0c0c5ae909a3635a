"""Client of Sluiceway: send task inputs to a compute grid over HTTPS and collect the outputs."""
