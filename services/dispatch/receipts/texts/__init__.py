"""What providers of texts and Kakao report: read, verified, and acted on."""
