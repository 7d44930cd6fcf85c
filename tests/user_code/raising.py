data = None
raise RuntimeError("no luck\nat all")
