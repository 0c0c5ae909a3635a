"""The one room that speaks AMQP: connections, lanes, claims and journals."""
