"""A TaskGraph as a picture: a neutral diagram, a layout in coordinates, and SVG or Mermaid made from them."""
