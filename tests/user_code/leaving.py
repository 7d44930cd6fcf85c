import sys

loss = None
sys.exit(3)
