"""Mine pairs of translations from monolingual text: texts → vectors → neighbours → pairs."""
