"""What may be said, about what: domain packs as folders of data, checked before they are used."""
