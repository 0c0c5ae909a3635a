"""Who may do what: a workflow of small steps with default deny."""
