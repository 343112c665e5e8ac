"""Jobs as rows: what they are, how they change, who may change them."""
