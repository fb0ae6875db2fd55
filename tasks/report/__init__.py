"""`invoke report`: which records and logs are meant, and where what is made of them goes."""
