"""The machine that a run stands on: its folders, processor, memory and provenance."""
