"""What is expected of every fault and every bad input, which tests show it, and the page that is made from both."""
