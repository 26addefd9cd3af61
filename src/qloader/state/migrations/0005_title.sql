-- What a person calls a document whose id says little: for reviews, which name what is deleted too.
ALTER TABLE document ADD COLUMN title TEXT NOT NULL DEFAULT '';
