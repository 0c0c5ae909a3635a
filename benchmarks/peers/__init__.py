"""What Sluiceway is compared with: the bare broker, Celery and Dask, each a program of its own."""
