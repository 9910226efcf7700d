// All boards of charts on the page, so that one word redraws them all.

export const boards = [];
