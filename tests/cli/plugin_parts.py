"""Sources of plugins that tests of several commands write."""

SAME_LIST_FOR_ALL = """    def generate(self, queries, k):
        items = np.tile(np.arange(k, dtype=np.int32), (len(queries.views), len(queries), 1))
        return Rankings(queries.views, items, -items.astype(np.float32))
    def save(self, folder):
        (folder / "model.json").write_text("0")
    def load(self, folder):
        pass

PLUGIN = Plugin.from_folder(__file__, Config, Model)
"""
"""The end of a plugin whose class of settings is `Config`: its `Model` shows everybody the first items, and saves nothing."""
