"""One figure a file: its data, and how Plotly and matplotlib draw them."""
