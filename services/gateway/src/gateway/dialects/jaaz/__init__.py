"""The jaaz frontend: canvases, chats and functions, over REST and Socket.IO, in its seed's form and its client's.

It owns canvases, chat sessions, configurations, settings and logins of devices; never what was said or made, which
stands in the generations.
"""
