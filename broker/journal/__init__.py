"""A session's journal: raw reading and writing of a lane's stream, and the one fold that owners and readers share."""
