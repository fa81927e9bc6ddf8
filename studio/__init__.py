"""The face of the studio: Gradio only. It holds no torch, and the page is up before torch is imported."""
