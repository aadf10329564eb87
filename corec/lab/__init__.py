"""The laboratory: what is done to CoreC, and nothing that an instance needs.

``bench`` measures it beside its rivals, ``chaos`` kills parts of it and looks at what is left,
``oracle`` is the same world in plain Python, written from the documents. All of it starts from a
checkout: an installed CoreC comes without it.
"""
