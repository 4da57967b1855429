def write(kept, page, claims):
    pass
