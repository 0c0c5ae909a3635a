"""Value at risk of a book of options by historical simulation, spread over a grid: the demo's job."""
