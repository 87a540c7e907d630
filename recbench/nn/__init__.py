"""What models are made of, in wings: `training`, `codes`, `blocks`, `ranking`, `text`, `compute`. Models import from the wings' faces."""
