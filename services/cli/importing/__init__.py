"""`dangol import`: a file of customers and past events, taken in through the HTTP edge."""
