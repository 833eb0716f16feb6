"""Parts that every room uses: delays, streams, counters, trees."""
