"""The demo among strangers: what a visitor asks for, the fence around Gradio, the server and its limits.

How the page looks and which of its parts does what is app.py's business; how stories are told, inference's.
"""
